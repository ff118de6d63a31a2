"""The story of one call, from the application's line to the reply it gets.

:class:`Observer` tells it step by step; each step is guarded, so that a fault of ours costs
telemetry and never the application. A pipeline is the same story with the queue read before
``execute()`` and the commands matched with their replies after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from time import perf_counter_ns, time_ns
from typing import Any, cast

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span

from otel_redis_cache import (
    clients,
    clusters,
    connections,
    contexts,
    failures,
    garbage,
    propagation,
)
from otel_redis_cache import conventions as names
from otel_redis_cache.caches import Caches
from otel_redis_cache.calls import Attempts, Batch, Call, open_scope, scope_here
from otel_redis_cache.commands import Commands, operation_of
from otel_redis_cache.consumption import Consumption
from otel_redis_cache.descriptions import Descriptions, failed_attributes
from otel_redis_cache.facts import Contact, Target
from otel_redis_cache.guard import contain, harmless
from otel_redis_cache.judge import Judge, failed_commands, first_failure, replies_of
from otel_redis_cache.latencies import Latencies
from otel_redis_cache.loads import Caller, Times, current_caller
from otel_redis_cache.neighbours import Neighbours, metrics_of_redis_py
from otel_redis_cache.operands import word
from otel_redis_cache.reasons import Label
from otel_redis_cache.recorder import AttributeValue, Recorder
from otel_redis_cache.settings import Settings
from otel_redis_cache.sweeps import Sweep
from otel_redis_cache.traffic import Traffic, is_message

RequestHook = Callable[[Span, Any, Sequence[Any], Mapping[str, Any]], None]
"""``request_hook(span, instance, args, kwargs)``; for a pipeline ``args`` are its commands."""

ResponseHook = Callable[[Span, Any, Any], None]
"""``response_hook(span, instance, response)``."""

REDIRECTIONS = {"MOVED": names.MOVED, "ASK": names.ASK}
"""Answers that send the client of a cluster elsewhere, by ``error.type``."""


class Observer:
    """Watches the calls of all clients, or of one."""

    def __init__(
        self,
        settings: Settings,
        recorder: Recorder,
        request_hook: RequestHook | None = None,
        response_hook: ResponseHook | None = None,
    ) -> None:
        """Put the leaves together: names, commands, emission."""
        self.recorder = recorder
        self.settings = settings
        self._request_hook = request_hook
        self._response_hook = response_hook
        self._commands = Commands(settings.extra_commands, settings.scripts)
        counts = recorder.tallies
        self._caches = Caches(settings, counts.automatic_names, counts.overflow_of_names)
        self._descriptions = Descriptions(settings, self._commands, self._caches)
        self._makes_spans = False
        """Whether spans are wanted, and somebody takes them; until then it is asked again."""
        self.is_heard = False
        """Whether it is settled who takes what is wanted; until then it is asked again."""
        self.is_unheard = True
        """Whether nobody takes any of it yet."""
        self._speaks_to_itself = settings.snapshot or settings.propagate_context
        self._records_durations = "operations" in settings.metrics
        self._names_caches = settings.duration_by_cache
        self._wants_parent = settings.require_parent_span
        self._latencies = counts.latencies if settings.snapshot else None
        self._outages = counts.outages
        self._notes = counts.notes
        self._counts_caches = settings.counts_caches
        self._judge = Judge(settings, self._caches, recorder)
        self._measures_sizes = "size" in settings.metrics
        self._traffic = Traffic(settings, recorder)
        self._follows_traffic = self._traffic.is_followed
        self._is_asked_for_more = settings.snapshot or self._follows_traffic or self._measures_sizes
        self._propagates = settings.propagate_context
        self._is_choosy = bool(settings.include_commands or settings.exclude_commands)
        self.is_idle = not (
            settings.traces or settings.metrics or settings.snapshot or settings.propagate_context
        )
        """Whether the settings leave nothing to observe."""
        self.groups = settings.metrics
        self.watches_pools = names.CONNECTIONS in settings.metrics
        self.is_off = False
        """Whether another instrumentation makes the same telemetry, and ``on_conflict`` is off."""
        self._neighbours = Neighbours(matter=settings.traces and settings.on_conflict != "both")
        self._has_looked = False
        self.is_settled = False
        """Whether all is known that is asked once: who listens, and who else is there."""
        self.find_audience()

    # Opening a call.

    def open(
        self, client: object, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> Call | None:
        """A call for one command; None where there is nothing to observe."""
        try:
            scope = open_scope.get()
            head = args[0] if args else None
            is_usual = (
                self.is_settled
                and not garbage.running
                and not self._notes.waiting
                and (scope is None or scope.call is None)
                and contexts.SUPPRESSING.isdisjoint(contexts.current())
                # The type first: other things may compare as they like.
                and not (type(head) is str and head in clusters.TOPOLOGY_COMMANDS)
            )
            if not is_usual and not self._observes(client, args):
                return None
            call = Call(self, client, args, kwargs)
            if garbage.running and garbage.is_at_work():
                call.leave_interrupted()
            elif self._makes_spans and not self._neighbours.are_absent(client, is_batch=False):
                self._make_way(call)
        except Exception as fault:
            contain(self, "open", fault)
            return None
        return None if self.is_off else call

    @harmless("open")
    def open_batch(self, pipeline: object, kwargs: Mapping[str, object]) -> Call | None:
        """A call for a pipeline or a transaction, whose queue is read before it is emptied."""
        if not clients.sends(pipeline) or not self._observes(pipeline, ()):
            return None
        queued, transaction = clients.queued(pipeline), clients.is_transaction(pipeline)
        call = Batch(self, pipeline, queued, kwargs, transaction=transaction)
        if clients.is_of_cluster(pipeline):
            call.queue = list(clusters.queue_of(pipeline))
        if garbage.running and garbage.is_at_work():
            call.leave_interrupted()
        elif self._makes_spans and not self._neighbours.are_absent(pipeline, is_batch=True):
            self._make_way(call)
        return None if self.is_off else call

    @harmless("open")
    def open_script(self, client: Any, script: Any, keys: Any, args: Any) -> Call | None:
        """A call for a script that the client runs, and loads first where the server lost it.

        Arguments are only looked at where that cannot use them up; otherwise, and in a pipeline
        that queues, the commands of the script are observed as they come.
        """
        if not isinstance(keys or [], list | tuple) or not isinstance(args or [], list | tuple):
            return None
        if clients.queues(client):
            return None
        keys, args = tuple(keys or ()), tuple(args or ())
        return self.open(client, ("EVALSHA", script.sha, len(keys), *keys, *args), {})

    @harmless("open")
    def open_sweep(
        self, client: object, pattern: bytes, label: Label, *, traced: bool
    ) -> Sweep | None:
        """What ``invalidate()`` tells of itself; None where there is nothing to observe."""
        is_late = garbage.running and garbage.is_at_work()
        if is_late or not self._observes(client, ()):
            return None
        return Sweep(
            self.recorder, self._caches, self.settings, client, label, pattern, traced=traced
        )

    @harmless("consume")
    def open_consumption(
        self, message: Any, producer: Context, destination: str | None
    ) -> Consumption | None:
        """The span of a consumer; None where the settings leave none to make."""
        settings = self.settings
        if not settings.traces or self.is_off or contexts.is_suppressed():
            return None
        if garbage.running and garbage.is_at_work():
            return None
        if settings.require_parent_span and not contexts.are_in_a_span():
            return None
        if destination is None and propagation.is_pubsub_message(message):
            destination = self._traffic.channel_of(message["channel"])
        return Consumption(self.recorder, producer, destination)

    @harmless("traffic")
    def receive(self, subscriber: object, response: object) -> None:
        """What a subscriber got; its messages are counted."""
        if (
            self._traffic.counts_messages
            and is_message(response)
            and self._observes(subscriber, ())
        ):
            target = clients.target_of_subscriber(subscriber)
            self._receive(target, cast("Sequence[object]", response))

    @harmless("traffic")
    def _receive(self, target: Target, message: Sequence[object]) -> None:
        if garbage.running and garbage.is_at_work():
            self._notes.add(partial(self._receive, target, message))
        else:
            self._traffic.receive(target, message)

    @harmless("traffic")
    def adopt(self, subscriber: object, cluster_subscriber: object) -> None:
        """A subscriber that receives from one node what was asked of a cluster."""
        clients.receives_for(subscriber, cluster_subscriber)

    def _observes(self, client: object, args: Sequence[object]) -> bool:
        is_late = garbage.running and garbage.is_at_work()
        scope = scope_here() if is_late else open_scope.get()
        if scope is not None and scope.call is not None:
            if scope.is_busy:
                return False  # a hook that uses Redis would call itself without end
            if clients.serves(client, scope.call.instance):
                self._take_in(scope.call, args)
                return False
        if not self.is_heard:
            self.find_audience()
        if self.is_unheard:
            return False
        if not is_late and contexts.is_suppressed():
            return False
        if self._notes.waiting:
            self._notes.tell()
        if not is_late and not self._has_looked:
            self._look_around(client)
        self.is_settled = self.is_heard and self._has_looked and not self.is_off
        head = args[0] if args else None
        if type(head) is str and head in clusters.TOPOLOGY_COMMANDS:
            return not (self.is_off or clusters.asks_by_itself(client))
        return not self.is_off

    @harmless("open")
    def find_audience(self) -> None:
        """Whether anybody takes what is wanted by now; asked again until all of it is settled."""
        wants_spans, wants_metrics = self.settings.traces, bool(self.settings.metrics)
        audience = self.recorder.audience
        audience.look()
        # First what is settled, then the verdicts: another thread may be settling it now.
        awaits_any = (wants_spans and audience.awaits_spans) or (
            wants_metrics and audience.awaits_metrics
        )
        if wants_spans and audience.takes_spans:
            self._makes_spans = True
        counts = wants_metrics and audience.takes_metrics
        if self._makes_spans or counts or self._speaks_to_itself:
            self.is_unheard = False
        self.is_heard = not awaits_any

    def look_again(self) -> None:
        """Redis-py's own metrics are switched on or off."""
        self._has_looked = self.is_settled = False

    def _take_in(self, call: Call, args: Sequence[object]) -> None:
        """What a client sends by itself belongs to the call that it serves."""
        if args and word(args[0]) == "SCRIPT LOAD":
            call.script_loads += 1
        elif call.queue:
            call.resent, error = clusters.error_of(call.queue, args, call.resent)
            if error is not None:
                self.keep_failed_attempt(call, error)
                self.keep_attempt(call)

    @harmless("conflict")
    def _look_around(self, client: object) -> None:
        """At the first command, see whether another instrumentation makes the same telemetry.

        Threads whose first commands meet all look, come to the same verdict and follow it; the
        flag is set last, so that none goes on without it.
        """
        try:
            if self.settings.on_conflict != "both":
                if left := self.recorder.leave(metrics_of_redis_py()):
                    self._leave_to("redis.observability", ", ".join(left))
                self._leaves_spans(client, is_batch=False)
            self.recorder.look_at_resource()
        finally:
            self._has_looked = True

    @harmless("conflict")
    def _make_way(self, call: Call) -> None:
        """Make no span where another instrumentation makes one of the same call."""
        call.has_other_span = self._leaves_spans(call.instance, is_batch=call.is_batch)

    def _leaves_spans(self, client: object, *, is_batch: bool) -> bool:
        maker = self._neighbours.span_maker(client, is_batch=is_batch)
        if maker is not None:
            self._leave_to(maker, "spans")
        return maker is not None

    def _leave_to(self, other: str, what: str) -> None:
        """Leave to another instrumentation what it makes, and say so once."""
        if self.settings.on_conflict == "off":
            self.is_off = True
            line = "%s is active: this package is off (on_conflict=off)"
            self.recorder.say_once(line, other, once_for=other)
        else:
            line = (
                "%s is active: leaving %s to it, cache metrics go on; on_conflict=both makes both"
            )
            self.recorder.say_once(line, other, what, once_for=other)

    @harmless("replies")
    def keep_replies(self, call: Call, replies: object) -> None:
        """All replies of a batch, before the client raises about one of them."""
        call.replies = replies_of(replies)
        # redis-py 6.4 loses the server's words when it writes the command into the exception.
        call.failure = first_failure(call.replies)

    @harmless("target")
    def keep_seeds(self, owner: object, nodes: Iterable[object] | None = None) -> None:
        """Where a cluster client was told to start."""
        clusters.keep_seeds(owner, nodes)

    @harmless("attempts")
    def keep_failed_attempt(self, call: Call, error: BaseException) -> None:
        """Why an attempt failed; one that was told to go elsewhere did not."""
        failure = failures.failure_of(error).type
        call.attempts = call.attempts or Attempts()
        call.attempts.failed = None if failure in REDIRECTIONS else failure

    @harmless("attempts")
    def keep_attempt(self, call: Call) -> None:
        """Another one begins."""
        attempts = call.attempts
        if attempts is not None and attempts.failed is not None:
            attempts.retries.append(attempts.failed)
            attempts.failed = None
            attempts.last = perf_counter_ns()

    @harmless("attempts")
    def keep_try_again(self, call: Call) -> None:
        """A node says that a key is on its way, after which the client of a cluster tries again."""
        if clients.is_of_cluster(call.instance):
            call.attempts = call.attempts or Attempts()
            call.attempts.failed = failures.TRY_AGAIN

    @harmless("attempts")
    def keep_redirection(self, call: Call, error: BaseException) -> None:
        """A node says that a key is elsewhere, which only the client of a cluster can follow."""
        if clients.is_of_cluster(call.instance):
            call.attempts = call.attempts or Attempts()
            call.attempts.redirections.append(REDIRECTIONS[failures.failure_of(error).type])

    # Before the call.

    def begin(self, call: Call) -> None:
        """What was sent, where to, and the span that starts with it."""
        if call.is_late:
            call.open_late()
        else:
            call.outer = open_scope.get()
            open_scope.set(call.scope)
        try:
            if call.is_batch:
                self._describe_batch(call)
            else:
                command = self._commands.describe(call.args)
                call.commands = (command,)
                rule = command.rule
                call.operation = call.metric_operation = rule.name
                if not rule.known:
                    call.metric_operation = names.OTHER_OPERATION
                call.blocks = rule.blocking is not None and command.blocks
        except Exception as fault:
            contain(self, "describe", fault)
        try:
            call.target = clients.target_of(call.instance)
        except Exception as fault:
            contain(self, "target", fault)
        call.started_unix = time_ns()
        if self._makes_spans:
            try:
                self._start(call)
            except Exception as fault:
                contain(self, "start", fault)
        if self._propagates and not call.is_late and propagation.sends_messages(call.commands):
            self._propagate(call)
        if call.span is None:
            call.started = perf_counter_ns()
        call.scope.is_busy = False

    def _describe_batch(self, call: Call) -> None:
        call.commands = self._commands.describe_batch(call.args)
        waits = [c for c in call.commands if c.rule.blocking is not None and c.blocks]
        call.blocks = bool(waits) and not call.transaction
        call.operation, call.metric_operation = operation_of(
            call.commands, transaction=call.transaction
        )

    def _start(self, call: Call) -> None:
        if call.has_other_span or (self._is_choosy and not self._wants_span(call)):
            return
        if call.sweep is not None and not call.sweep.traced:
            return
        if (call.blocks or self._wants_parent) and not contexts.are_in_a_span():
            if self._wants_parent:
                return
            # A worker's poll that finds nothing makes no span, which only the reply can tell.
            call.deferred = True
            return
        self._start_span(call)

    def _start_span(self, call: Call) -> None:
        describe = partial(self._descriptions.at_start, call.target, call.operation, call.commands)
        span = call.span = self.recorder.start(call.operation, describe, call.started_unix)
        call.started = call.started or perf_counter_ns()
        before = call.context_before = contexts.current()
        contexts.attach(contexts.with_span(before, span))
        if type(span) is not NonRecordingSpan and span.is_recording():
            call.is_recorded = True
            if self._request_hook is not None:
                self._ask_request_hook(self._request_hook, call, span)

    @harmless("request_hook")
    def _ask_request_hook(self, hook: RequestHook, call: Call, span: Span) -> None:
        hook(span, call.instance, list(call.args), dict(call.kwargs))

    @harmless("propagate")
    def _propagate(self, call: Call) -> None:
        """Send the context along, in copies: what the application holds stays as it is."""
        carrier = propagation.current_carrier()
        if not carrier:
            return
        batch = call.args if call.is_batch else (call.args,)
        call.sent = {
            tuple(map(id, args)): sent
            for command, args in zip(call.commands, batch, strict=True)
            if (sent := propagation.with_context(command, args, carrier)) is not None
        }

    def _wants_span(self, call: Call) -> bool:
        include, exclude = self.settings.include_commands, self.settings.exclude_commands
        sent = {command.rule.name for command in call.commands}
        return (not include or not sent.isdisjoint(include)) and not (exclude and sent <= exclude)

    # After the call.

    def end(self, call: Call, error: BaseException | None, noted: int = 0) -> None:
        """What came of it: counted, recorded, and put on the span before that ends."""
        ended = noted or perf_counter_ns()
        call.elapsed = ended - call.started
        call.scope.is_busy = True
        if garbage.running and garbage.is_at_work():
            self._notes.add(partial(self._end_noted, call, error, ended))
            call.is_noted = True
            return
        self._judge.judge(call, error)
        server = self._outages.servers.get(call.target)
        if server is not None and server.is_well and error is None and call.local is None:
            attempted = call.started if call.attempts is None else call.last_attempt
            answered = server.answered
            server.answered = attempted if attempted > answered else answered
            server.used = ended
        else:
            self._follow(call, error)
        if self._counts_caches and call.sweep is None:
            try:
                self.recorder.tallies.take(call.target, call.outcome)
            except Exception as fault:
                contain(self, "count", fault)
        if call.attempts is not None or call.local is not None or call.outcome.touches:
            self._count_more(call, error)
        if (call.is_recorded or call.deferred) and not noted:
            self._tell_span(call, error)
        if self._records_durations:
            cache = call.outcome.only_cache if self._names_caches and not call.blocks else None
            try:
                self.recorder.record_duration(
                    call.target,
                    call.metric_operation,
                    call.elapsed,
                    call.failure,
                    cache,
                    call.blocks,
                )
            except Exception as fault:
                contain(self, "duration", fault)
        if call.followed is not None or call.outcome.ttls or self._is_asked_for_more:
            self._record_more(call)

    def _count_more(self, call: Call, error: BaseException | None) -> None:
        """What few calls have: attempts after the first, a local cache, misses that are open."""
        if call.attempts is not None:
            self._count_attempts(call, call.attempts)
        if call.local is not None and error is None:
            self._count_local(call, call.local)
        if call.outcome.touches:
            self._follow_loads(call)

    def _tell_span(self, call: Call, error: BaseException | None) -> None:
        """What came of the call, on its span; a poll that found something has one from here on."""
        if call.deferred:
            self._start_late(call, error)
        if call.span is not None:
            self._describe_end(call, call.span)
            if self._response_hook is not None and error is None:
                self._ask_response_hook(self._response_hook, call, call.span)

    def end_span(self, call: Call) -> None:
        """Back to the span that was current before; the call's own ends, whatever happened."""
        if garbage.running and garbage.is_at_work():
            if not call.is_noted:
                self._notes.add(partial(partial, self.end_span, call))
            return
        try:
            before = call.context_before
            if before is not None and contexts.current().get(contexts.SPAN) is call.span:
                contexts.attach(before)
        except Exception as fault:
            contain(self, "finish", fault)
        finally:
            span, call.span = call.span, None
            if span is not None and type(span) is not NonRecordingSpan:
                try:
                    self.recorder.end(span, call.started_unix + call.elapsed)
                except Exception as fault:
                    contain(self, "finish", fault)

    def _end_noted(
        self, call: Call, error: BaseException | None, ended: int
    ) -> Callable[[], object] | None:
        """What ended in the garbage collector counts now; gives what ends its span."""
        self.end(call, error, ended)
        has_span = call.span is not None or call.deferred
        return partial(self._end_noted_span, call, error) if has_span else None

    def _end_noted_span(self, call: Call, error: BaseException | None) -> None:
        if call.is_recorded or call.deferred:
            self._tell_span(call, error)
        self.end_span(call)

    @harmless("outage")
    def _follow(self, call: Call, error: BaseException | None) -> None:
        contact = failures.contact_of(error)
        if call.local == names.HIT:
            contact = Contact.UNKNOWN  # the server was not asked
        if call.blocks and contact is Contact.TIMED_OUT:
            contact = Contact.UNKNOWN  # it asked to wait for longer than the client does
        if call.target.address is not None:
            over = self._outages.follow(
                call.target,
                contact,
                call.failure.type if call.failure is not None else names.OTHER_ERROR,
                started=call.started,
                attempted=call.last_attempt,
                started_unix=call.started_unix,
                ended=call.started + call.elapsed,
                waited=call.blocks,
                one_of_many=clients.is_one_of_many(call.instance),
            )
            if over is not None:
                self.recorder.record_outage(over)

    @harmless("attempts")
    def _count_attempts(self, call: Call, attempts: Attempts) -> None:
        if call.failure is not None and call.failure.type in REDIRECTIONS and attempts.redirections:
            attempts.redirections.pop()  # which the client did not follow
        self.recorder.count_attempts(call.target, attempts.retries, attempts.redirections)

    @harmless("attempts")
    def _count_local(self, call: Call, result: str) -> None:
        self.recorder.count_local_request(call.target, result)

    def _record_more(self, call: Call) -> None:
        """What few calls have, or is off by default."""
        if call.followed is not None or call.outcome.ttls or self._measures_sizes:
            self._record_values(call)
        if call.replies is not None and self._follows_traffic:
            self._follow_traffic(call, call.replies)
        if self._latencies is not None and not call.blocks:
            self._keep_latency(call, self._latencies)

    @harmless("traffic")
    def _follow_traffic(self, call: Call, replies: Sequence[Any]) -> None:
        now = (call.started_unix + call.elapsed) / 1e9
        self._traffic.follow(call.target, call.commands, replies, now)

    @harmless("loads")
    def _follow_loads(self, call: Call) -> None:
        ended = call.started + call.elapsed
        oldest = ended - int(self.settings.load_window * 1e9)
        call.followed = self.recorder.tallies.follow(
            call.target,
            call.outcome,
            Times(call.started, ended, oldest),
            partial(caller_of, call),
        )

    @harmless("start")
    def _start_late(self, call: Call, error: BaseException | None) -> None:
        # A count is an answer, even 0: WAIT has waited for replicas, not for data.
        if error is not None or call.reply or isinstance(call.reply, int):
            self._start_span(call)

    @harmless("attributes")
    def _describe_end(self, call: Call, span: Span) -> None:
        if not span.is_recording():
            return
        attributes = self._descriptions.at_end(call.outcome, call.size, call.failure, call.commands)
        if (
            call.label is not None
            and call.label.trigger
            and names.INVALIDATION_REASON in attributes
        ):
            attributes[names.INVALIDATION_TRIGGER] = call.label.trigger
        if call.followed is not None and call.followed.joined:
            attributes[names.CACHE_STAMPEDE] = True
        if call.connection is not None and (call.failure is None or call.failure.status):
            attributes |= connections.peer_of(call.connection)
        if call.attempts is not None:
            attributes |= attempt_attributes(call.attempts)
        if call.script_loads:
            attributes[names.SCRIPT_LOADS] = call.script_loads
        if len(call.commands) > 1:
            attributes |= failed_attributes(failed_commands(call), call.commands)
        self.recorder.finish(span, attributes, call.failure)

    @harmless("response_hook")
    def _ask_response_hook(self, hook: ResponseHook, call: Call, span: Span) -> None:
        if span.is_recording():
            hook(span, call.instance, call.reply)

    @harmless("values")
    def _record_values(self, call: Call) -> None:
        loads = () if call.followed is None else call.followed.loads
        self.recorder.record_values(call.target, call.outcome, loads)

    @harmless("latency")
    def _keep_latency(self, call: Call, latencies: Latencies) -> None:
        latencies.add(call.metric_operation, call.elapsed)


def attempt_attributes(attempts: Attempts) -> dict[str, AttributeValue]:
    """How often a call was tried again, and sent elsewhere; nothing for never."""
    counts = {
        names.RETRY_COUNT: len(attempts.retries),
        names.REDIRECTION_COUNT: len(attempts.redirections),
    }
    return {name: count for name, count in counts.items() if count}


def caller_of(call: Call) -> Caller:
    """Who made a call, by the trace that it was made in too."""
    before = call.context_before
    context = contexts.current() if before is None else before
    around = contexts.span_in(context).get_span_context()
    return current_caller(around.trace_id if around.is_valid else 0)
