"""How panels look: a few kinds, so that all dashboards read alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from series import SERVICE, label, select

from otel_redis_cache.conventions import Metric

Panel: TypeAlias = "stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel"
Query: TypeAlias = prometheus.Dataquery

_LETTERS = "ABCDEFG"
"""What the queries of a panel are called."""

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
"""Whichever Prometheus is chosen at the top of the dashboard."""

GREEN, YELLOW, RED = "green", "yellow", "red"
Steps: TypeAlias = Sequence[tuple[float | None, str]]
"""From which value on which colour; the first one is from the beginning."""

GOOD_RATIO: Steps = ((None, RED), (0.5, YELLOW), (0.7, GREEN))
ANY_IS_BAD: Steps = ((None, GREEN), (1, RED))
ANY_IS_ODD: Steps = ((None, GREEN), (1, YELLOW))


def query(expression: str, legend: str = "", *, exemplars: bool = False) -> Query:
    """A line for each series; exemplars lead from a point to its trace."""
    asked = prometheus.Dataquery().expr(expression).range()
    if exemplars:
        asked.exemplar(exemplar=True)
    return asked.legend_format(legend) if legend else asked


def each(*attributes: str) -> str:
    """A legend of what tells the lines apart."""
    return ", ".join(f"{{{{{label(attribute)}}}}}" for attribute in attributes)


def ask_now(expression: str, legend: str = "") -> Query:
    """One value for each series: as it is at the end of the time that is shown."""
    return query(expression, legend).instant()


def number(
    title: str,
    why: str,
    *queries: Query,
    unit: str = "short",
    steps: Steps = ((None, GREEN),),
    decimals: int | None = None,
) -> stat.Panel:
    """A number to be seen from afar; a row has six of them."""
    panel = stat.Panel().title(title).description(why).datasource(SOURCE).span(4).height(4)
    panel = panel.unit(unit).thresholds(_thresholds(steps)).no_value("none")
    panel = panel.graph_mode(looks.BigValueGraphMode.NONE)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    if decimals is not None:
        panel = panel.decimals(decimals)
    for letter, asked in zip(_LETTERS, queries, strict=False):
        panel = panel.with_target(asked.ref_id(letter))
    return panel


def graph(
    title: str,
    why: str,
    *queries: Query,
    unit: str = "short",
    width: int = 12,
    stacked: bool = False,
    most: float | None = None,
    steps: Steps = (),
    nothing: str = "none in this time",
) -> timeseries.Panel:
    """Lines over time, from zero; `nothing` is what stands there while nothing has happened."""
    panel = timeseries.Panel().title(title).description(why).datasource(SOURCE)
    panel = panel.span(width).height(8).unit(unit).min(0).no_value(nothing)
    panel = panel.line_width(1).show_points(looks.VisibilityMode.NEVER)
    panel = panel.fill_opacity(30 if stacked else 5)
    panel = panel.legend(
        common.VizLegendOptions()
        .show_legend(show_legend=True)
        .display_mode(looks.LegendDisplayMode.LIST)
        .placement(looks.LegendPlacement.BOTTOM)
    )
    panel = panel.tooltip(
        common.VizTooltipOptions()
        .mode(looks.TooltipDisplayMode.MULTI)
        .sort(looks.SortOrder.DESCENDING)
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL))
    if most is not None:
        panel = panel.max(most)
    if steps:
        panel = panel.thresholds(_thresholds(steps))
        panel = panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.DASHED)
        )
    for letter, asked in zip(_LETTERS, queries, strict=False):
        panel = panel.with_target(asked.ref_id(letter))
    return panel


def states(title: str, why: str, *queries: Query, width: int = 12) -> statetimeline.Panel:
    """When it was up (1), and when down (0)."""
    words = {
        "1": models.ValueMappingResult(text="up", color=GREEN),
        "0": models.ValueMappingResult(text="down", color=RED),
    }
    panel = statetimeline.Panel().title(title).description(why).datasource(SOURCE)
    panel = panel.span(width).height(8).mappings([models.ValueMap(options=words)])
    for letter, asked in zip(_LETTERS, queries, strict=False):
        panel = panel.with_target(asked.ref_id(letter))
    return panel


def listing(
    title: str, why: str, key: str, columns: Sequence[tuple[str, str, str]], *, link: str
) -> table.Panel:
    """A line for each value of the label `key`: (heading, unit, expression) by column.

    A click on the value of the key opens `link`.
    """
    panel = table.Panel().title(title).description(why).datasource(SOURCE).span(24).height(8)
    headings = {key: key.replace("_", " ")}
    for letter, (heading, unit, expression) in zip(_LETTERS, columns, strict=False):
        asked = ask_now(expression).format(PromQueryFormat.TABLE).ref_id(letter)
        panel = panel.with_target(asked)
        headings[f"Value #{letter}"] = heading
        shown = models.DynamicConfigValue(id_val="unit", value=unit)
        panel = panel.override_by_name(heading, [shown])
    leads = models.DynamicConfigValue(
        id_val="links", value=[{"title": "Open", "url": link, "targetBlank": False}]
    )
    panel = panel.override_by_name(headings[key], [leads])
    panel = panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    return panel.with_transformation(
        models.DataTransformerConfig(
            id_val="organize",
            options={"excludeByName": {"Time": True}, "renameByName": headings},
        )
    )


def row(title: str) -> dashboard.Row:
    """Panels that answer one question stand below it."""
    return dashboard.Row(title)


def folded(title: str, panels: Iterable[Panel]) -> dashboard.Row:
    """What only some have stands in a row that is closed until somebody opens it."""
    closed = dashboard.Row(title).collapsed(collapsed=True)
    for panel in panels:
        closed = closed.with_panel(panel)
    return closed


def board(name: str, title: str, question: str) -> dashboard.Dashboard:
    """What all dashboards share; a menu leads to the others and keeps what was chosen."""
    others = (
        dashboard.DashboardLink("Redis caches")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags(["redis-cache"])
        .include_vars(include_vars=True)
        .keep_time(keep_time=True)
    )
    return (
        dashboard.Dashboard(title)
        .uid(f"redis-{name}")
        .description(question)
        .tags(["redis-cache"])
        .time("now-3h", "now")
        .refresh("1m")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(others)
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
    )


def choose(name: str, title: str, values: str, *, several: bool = True) -> dashboard.QueryVariable:
    """A choice at the top of the dashboard: `values` is `label_values(selector, label)`."""
    variable = dashboard.QueryVariable(name).label(title).datasource(SOURCE)
    variable = variable.query(values)
    variable = variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    variable = variable.sort(models.VariableSort.ALPHABETICAL_ASC)
    if several:
        variable = variable.multi(multi=True).include_all(include_all=True).all_value(".*")
    return variable


def choose_service(metric: Metric) -> dashboard.QueryVariable:
    """Services that have this metric."""
    selected = select(metric, part="count" if metric.kind == "histogram" else "")
    return choose("service", "Service", f"label_values({selected}, {SERVICE})")


def finish(made: dashboard.Dashboard) -> models.Dashboard:
    """The dashboard with a number for each panel, which links to single panels have in them."""
    built = made.build()
    shown = list(built.panels or ())
    closed = [panel for one in shown if isinstance(one, models.RowPanel) for panel in one.panels]
    for place, panel in enumerate([*shown, *closed], start=1):
        panel.id_val = place
    return built


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    limits = [models.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(limits)
