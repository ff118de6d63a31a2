"""All nodes of a cluster, what Sentinels manage, a replica: whoever is there now is watched."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from otel_redis_cache.server import lease
from tests.integration import watching
from tests.integration.watching import PERIOD, told, watched
from tests.real.clusters import Cluster
from tests.real.processes import wait_until
from tests.real.sentinels import Sentinels
from tests.real.servers import RedisServer
from tests.recording import Recording

UPTIME = "redis.uptime"
KEY = "otel_redis_cache:{lease}:watch"


def ports(recording: Recording) -> set[Any]:
    return {found["server.port"] for found, _ in recording.points(UPTIME)}


def wait_for(recording: Recording, wanted: set[int], timeout: float = 20) -> None:
    wait_until(
        lambda: ports(recording) == wanted, timeout=timeout, what=f"{wanted} tell of themselves"
    )


def test_any_node_of_a_cluster_leads_to_all_of_them(cluster: Cluster, recording: Recording) -> None:
    everybody = {node.port for node in cluster.nodes}
    for node in (cluster.primaries[0], cluster.replica_of(cluster.primaries[0])):
        with watched(recording, node):
            wait_for(recording, everybody)
            replicas = recording.points("redis.slaves.connected")
            primaries = {at["server.port"] for at, connected in replicas if connected == 1}
            assert primaries == set(cluster.ports)


def test_a_cluster_has_one_lease(cluster: Cluster, recording: Recording) -> None:
    first, second, *_ = cluster.primaries
    with watched(recording, first):
        wait_for(recording, {node.port for node in cluster.nodes})
        assert cluster.owner(KEY).call("EXISTS", KEY)
        other = Recording()
        with watched(other, second):
            time.sleep(5 * PERIOD)
            assert not other.points(UPTIME)


def test_nodes_of_a_cluster_that_die_and_come_back_lose_and_get_their_points(
    cluster: Cluster, recording: Recording
) -> None:
    everybody = {node.port for node in cluster.nodes}
    seed, *_ = cluster.primaries
    owner = cluster.owner(KEY)
    with watched(recording, seed):
        wait_for(recording, everybody)
        for dead in dict.fromkeys((seed, owner)):
            dead.kill()
            wait_for(recording, everybody - {dead.port})
            cluster.wait_until_served()
            dead.revive()
            wait_for(recording, everybody)
        cluster.wait_until_healthy()


def test_a_node_whose_name_is_looked_up_slowly_holds_up_nobody(
    cluster: Cluster, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, *others = cluster.nodes
    look_up = socket.getaddrinfo
    lookups: list[float] = []

    def look_up_slowly(host: Any, *more: Any, **options: Any) -> Any:
        if host == "slow.test":
            lookups.append(time.monotonic())
            time.sleep(5)
            host = "127.0.0.1"
        return look_up(host, *more, **options)

    def remap(place: tuple[str, int]) -> tuple[str, int]:
        return ("slow.test", slow.port) if place[1] == slow.port else place

    monkeypatch.setattr(watching, "PERIOD", 1.5)  # longer than a server may take
    seed = others[0]
    with redis.RedisCluster(host=cluster.host, port=seed.port, address_remap=remap) as client:
        monkeypatch.setattr(socket, "getaddrinfo", look_up_slowly)
        with watched(recording, client) as watch:
            wait_for(recording, {node.port for node in others}, timeout=4)
            while time.monotonic() < lookups[0] + 4.5:
                assert ports(recording) == {node.port for node in others}
                time.sleep(0.1)
            assert len(lookups) == 1, "one thread for one name"
            wait_for(recording, {node.port for node in cluster.nodes})
            assert len(lookups) == 1, "what was found late is not lost"
            started = time.monotonic()
            watch.close()
            assert time.monotonic() - started <= 1.5


def test_a_node_that_leaves_a_cluster_is_not_watched_any_more(
    redis_server: RedisServer, recording: Recording
) -> None:
    with Cluster("redis", redis_server.binary, 1, replicas=2) as cluster:
        everybody = {node.port for node in cluster.nodes}
        primary = cluster.primaries[0]
        leaving = cluster.replica_of(primary)
        with watched(recording, primary):
            wait_for(recording, everybody)
            before = clients_of(leaving)
            name = leaving.name
            for node in cluster.nodes:
                if node is not leaving:
                    node.call("CLUSTER", "FORGET", name)
            wait_for(recording, everybody - {leaving.port})
            assert leaving.running
            wait_until(
                lambda: clients_of(leaving) < before, timeout=10, what="its connection is closed"
            )


def clients_of(server: RedisServer) -> int:
    """Connections of clients."""
    listed = server.call("CLIENT", "LIST", "TYPE", "NORMAL")
    assert isinstance(listed, str)
    return len(listed.splitlines())


def test_each_cache_is_sampled_over_all_nodes_of_a_cluster(
    cluster: Cluster, recording: Recording
) -> None:
    cluster.flush()
    with redis.RedisCluster(host=cluster.host, port=cluster.nodes[0].port) as client:
        for number in range(60):
            client.set(f"page:{number}", b"x", ex=600 if number % 2 else None)

    with watched(recording, cluster.primaries[0], sample_memory=True):
        entries = lambda: recording.counts("cache.entries").get("page")  # noqa: E731
        wait_until(lambda: entries() == 60, timeout=20, what="all of them are seen")
        assert recording.counts("cache.entries.without_ttl") == {"page": 30}


def test_what_sentinels_manage_is_watched_through_a_failover(
    sentinels: Sentinels, recording: Recording
) -> None:
    everybody = {server.port for server in sentinels.servers}
    hosts = ",".join(f"{host}:{port}" for host, port in sentinels.addresses)
    with watched(recording, f"redis+sentinel://{hosts}/{sentinels.service}", sample_memory=True):
        wait_for(recording, everybody)
        old = sentinels.primary
        assert old.call("EXISTS", KEY)
        old.call("SET", "page:1", "x")
        wait_until(
            lambda: recording.counts("cache.entries") == {"page": 1}, timeout=20, what="a sample"
        )
        ((target, _),) = recording.points("cache.entries")
        assert target["server.address"] == f"{hosts}/{sentinels.service}"

        old.kill()
        new = sentinels.wait_for_another_primary(old)
        wait_for(recording, {new.port})
        wait_until(lambda: new.call("EXISTS", KEY), timeout=10, what="the lease is taken there")
        wait_until(
            lambda: recording.counts("cache.entries") == {"page": 1}, timeout=20, what="a sample"
        )
        old.revive()
        sentinels.wait_until_healthy()
        wait_for(recording, everybody)


def test_a_replica_without_its_link_is_watched_but_not_sampled(
    sentinels: Sentinels, recording: Recording
) -> None:
    everybody = {server.port for server in sentinels.servers}
    hosts = ",".join(f"{host}:{port}" for host, port in sentinels.addresses)
    primary, (replica, *_) = sentinels.primary, sentinels.replicas
    primary.call("SET", "page:1", "x")

    def is_sampled(server: RedisServer) -> bool:
        server.call("CONFIG", "RESETSTAT")
        time.sleep(3 * PERIOD)
        return "cmdstat_memory|usage" in server.info("commandstats")

    with watched(recording, f"redis+sentinel://{hosts}/{sentinels.service}", sample_memory=True):
        wait_for(recording, everybody)
        wait_until(lambda: is_sampled(replica), timeout=20, what="the replica is sampled")
        assert not is_sampled(primary)
        try:
            replica.call("CONFIG", "SET", "masteruser", "nobody", "masterauth", "wrong")
            primary.call("CLIENT", "KILL", "TYPE", "replica")
            wait_until(lambda: is_sampled(primary), timeout=25, what="the primary is sampled")
            assert not is_sampled(replica)
            wait_for(recording, everybody)
        finally:
            replica.call("CONFIG", "SET", "masteruser", "", "masterauth", "")
        wait_until(lambda: is_sampled(replica), timeout=25, what="the replica is sampled again")


def test_who_watches_all_that_sentinels_manage_takes_over_from_who_watches_one_of_them(
    sentinels: Sentinels, recording: Recording
) -> None:
    hosts = ",".join(f"{host}:{port}" for host, port in sentinels.addresses)
    everybody = {server.port for server in sentinels.servers}
    primary, (replica, *_) = sentinels.primary, sentinels.replicas
    of_primary, of_replica = Recording(), Recording()
    with watched(of_primary, primary), watched(of_replica, replica):
        wait_for(of_primary, {primary.port})
        wait_for(of_replica, {replica.port})
        with watched(recording, f"redis+sentinel://{hosts}/{sentinels.service}"):
            wait_for(recording, everybody)
            wait_for(of_primary, set())
            wait_for(of_replica, set())
            time.sleep(3 * PERIOD)
            wait_for(recording, everybody)
            assert not of_primary.points(UPTIME)
            assert not of_replica.points(UPTIME)
        wait_for(of_primary, {primary.port})
        wait_for(of_replica, {replica.port})


def test_a_sentinel_that_is_down_is_passed_over(sentinels: Sentinels, recording: Recording) -> None:
    hosts = ",".join(f"{host}:{port}" for host, port in sentinels.addresses)
    sentinels.sentinels[0].kill()
    with watched(recording, f"redis+sentinel://{hosts}/{sentinels.service}"):
        wait_for(recording, {server.port for server in sentinels.servers})
        sentinels.sentinels[1].kill()
        time.sleep(5 * PERIOD)
        wait_for(recording, {server.port for server in sentinels.servers})


def test_a_sentinel_by_itself_is_no_server_to_watch(
    sentinels: Sentinels, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    sentinel = sentinels.sentinels[0]
    with watched(recording, sentinel):
        wait_until(lambda: caplog.records, timeout=10, what="it is said")
        time.sleep(3 * PERIOD)
    (record,) = caplog.records
    assert f"watch redis+sentinel://127.0.0.1:{sentinel.port}/name" in record.getMessage()
    assert not recording.points(UPTIME)


def test_a_replica_is_watched_with_a_lease_at_its_primary(
    new_server: RedisServer, recording: Recording
) -> None:
    with RedisServer(new_server.kind, new_server.binary) as replica:
        replica.call("REPLICAOF", new_server.host, new_server.port)
        wait_until(
            lambda: replica.info("replication").get("master_link_status") == "up",
            timeout=20,
            what="it follows",
        )
        other = Recording()
        with watched(recording, replica), watched(other, new_server):
            wait_for(recording, {replica.port})
            wait_for(other, {new_server.port})
            run = replica.info()["run_id"]
            assert new_server.call("EXISTS", KEY, f"{KEY}:{run}") == 2
            third = Recording()
            with watched(third, replica):
                time.sleep(5 * PERIOD)
                assert not third.points(UPTIME)

            replica.call("REPLICAOF", "NO", "ONE")  # from now on it has its own
            wait_until(lambda: replica.call("EXISTS", KEY), timeout=10, what="a lease of its own")
            time.sleep(3 * PERIOD)
            assert ports(recording) == {replica.port}


@pytest.fixture
def replica(new_server: RedisServer) -> Iterator[RedisServer]:
    with RedisServer(new_server.kind, new_server.binary) as server:
        server.call("REPLICAOF", new_server.host, new_server.port)
        wait_until(
            lambda: server.info("replication").get("master_link_status") == "up",
            timeout=20,
            what="it follows",
        )
        yield server


def test_a_replica_that_was_promoted_has_its_lease_itself(
    new_server: RedisServer, replica: RedisServer, recording: Recording
) -> None:
    key_there = f"{KEY}:{replica.info()['run_id']}"
    with watched(recording, replica):
        wait_for(recording, {replica.port})
        assert new_server.call("EXISTS", key_there)
        replica.call("REPLICAOF", "NO", "ONE")  # its old primary goes on to answer
        wait_until(lambda: replica.call("EXISTS", KEY), timeout=10, what="it has a lease")
        other = Recording()
        with watched(other, replica):
            left = lambda: int(str(new_server.call("PTTL", key_there))) - lease.SPARE  # noqa: E731
            wait_until(lambda: left() <= 0, timeout=10, what="the old one is over")
            time.sleep(3 * PERIOD)
            assert not other.points(UPTIME)
            wait_for(recording, {replica.port})


def test_a_replica_whose_primary_dies_is_watched_on(
    new_server: RedisServer,
    replica: RedisServer,
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with watched(recording, replica):
        wait_for(recording, {replica.port})
        new_server.kill()
        wait_until(lambda: caplog.records, timeout=10, what="it is said")
        seen = replica.commandstats()["info"]
        wait_until(
            lambda: replica.commandstats()["info"] > seen + 6, timeout=10, what="it is asked"
        )
        wait_for(recording, {replica.port})
        other, leading = Recording(), Recording()
        with watched(other, replica), watched(leading, replica, watch_leader=True):
            wait_for(leading, {replica.port})
            assert not other.points(UPTIME)
    assert len(caplog.records) == 3  # by each watch
    for record in caplog.records:
        assert f"127.0.0.1:{new_server.port} does not tell" in record.getMessage()


def test_a_replica_keeps_one_connection_to_its_primary(
    new_server: RedisServer, replica: RedisServer, recording: Recording
) -> None:
    def connected() -> set[str]:
        listed = str(new_server.call("CLIENT", "LIST", "TYPE", "NORMAL")).splitlines()
        return {line.split()[0] for line in listed if "cmd=eval" in line or "cmd=info" in line}

    with watched(recording, replica):
        wait_for(recording, {replica.port})
        (first,) = connected()
        before = new_server.commandstats()["eval"]
        wait_until(
            lambda: new_server.commandstats()["eval"] > before + 3, timeout=10, what="renewals"
        )
        assert connected() == {first}


def test_a_server_behind_tls_is_watched(tls_server: Any, recording: Recording) -> None:
    tls_server.revive()
    certificate: Path = tls_server.certificates.certificate
    url = f"rediss://127.0.0.1:{tls_server.tls_port}?ssl_ca_certs={certificate}"
    with watched(recording, url):
        wait_for(recording, {tls_server.tls_port})
        assert told(recording, "redis.memory.used")


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(
    tls_server: Any, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    tls_server.revive()
    with watched(recording, f"rediss://127.0.0.1:{tls_server.tls_port}"):
        wait_until(lambda: caplog.records, timeout=10, what="it is said")
        time.sleep(3 * PERIOD)
        assert not recording.points(UPTIME)
