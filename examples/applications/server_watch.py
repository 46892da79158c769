"""A watch over servers: which runs are started at all, which of them goes first, and who must agree that all is well.

Two of three probes are enough to say that a server is up. There is one survey at a time, nobody is called twice in ten
minutes about one server, and the report of a day is made anew when somebody asks again. One engineer repairs what is
broken, the most urgent first, and no more than once a day for each server. The clock is frozen.

    web: up, though tls says: expired
    mail: perdure.ParallelFailed: 2 strands failed ('ping', 'http'): timeout; refused
    surveys asked for at 09:00, 09:01, 09:02: made 2
    calls about mail asked for at 09:00, 09:01, 09:02, 09:15: made at 09:00, 09:15
    report: 1 call, made anew: 2 calls; 1 older one in the archive
    in line for the engineer at 09:15: 3; repaired: printer, mail, web, wiki
"""

from __future__ import annotations

from datetime import timedelta

from freezegun import freeze_time

from perdure import Context, Engine, Run, Workflow, step


class Servers:
    """The servers as they are, and what was done about them."""

    def __init__(self) -> None:
        self.trouble = {("web", "tls"): "expired", ("mail", "ping"): "timeout", ("mail", "http"): "refused"}
        self.called: dict[str, str] = {}
        self.repaired: dict[str, str] = {}

    def probe(self, server: str, what: str) -> str:
        """Look at a server in one of three ways."""
        if (trouble := self.trouble.get((server, what))) is not None:
            raise ConnectionError(trouble)
        return what

    def call(self, key: str, server: str) -> str:
        """Call somebody about a server; the same key does not ring again."""
        return self.called.setdefault(key, server)

    def repair(self, key: str, server: str) -> str:
        """Repair it."""
        return self.repaired.setdefault(key, server)


servers = Servers()


@step(retry=1)
def ping(ctx: Context[str]) -> str:
    """See whether the machine answers."""
    return servers.probe(ctx.input, "ping")


@step(retry=1)
def http(ctx: Context[str]) -> str:
    """See whether the pages come."""
    return servers.probe(ctx.input, "http")


@step(retry=1)
def tls(ctx: Context[str]) -> str:
    """See whether the certificate is good."""
    return servers.probe(ctx.input, "tls")


@step
def verdict(ctx: Context[str]) -> str:
    """Tell what those say that do not agree."""
    return ", ".join(["up", *(f"though {name} says: {error.message}" for name, error in ctx.errors.items())])


@step
def call(ctx: Context[str]) -> str:
    """Call somebody."""
    return servers.call(ctx.idempotency_key, ctx.input)


@step
def repair(ctx: Context[str]) -> str:
    """Repair it, once one has come there."""
    return servers.repair(ctx.idempotency_key, ctx.input)


probes = Workflow("probe", input=str).parallel(ping, http, tls, min_successful=2).step(verdict)
surveys = Workflow("survey", singleton=True).sleep("read all dials", 90)
calls = Workflow("call", input=str).step(call)
reports = Workflow("report").map("text", lambda ctx: f"{len(servers.called)} call{'s' * (len(servers.called) != 1)}")
repairs = Workflow("repair", input=str, concurrency=1).sleep("go there", timedelta(hours=1)).step(repair)
workflows = (probes, surveys, calls, reports, repairs)


def report(engine: Engine) -> str:
    """Have the report of the day made, or made anew."""
    return engine.start(reports, id="report of 2026-03-02", if_exists="replace_if_finished").result()


def ask_for_repairs(engine: Engine, *asked: tuple[str, int]) -> list[Run[str]]:
    """Send the engineer to each server; more urgent is sooner, and who is on the way already is not called back."""
    runs: list[Run[str]] = []
    for server, urgency in asked:
        runs.append(engine.start(repairs, server, key=server, key_ttl=timedelta(days=1), priority=urgency))
        engine.settle()
    return runs


def main() -> None:
    """Watch for a morning, and tell what was done."""
    with freeze_time("2026-03-02 09:00"), Engine(None, *workflows) as engine:
        for server in ("web", "mail"):
            end = engine.start(probes, server).wait()
            print(f"{server}: {end.result if end.error is None else end.error}")
        for _ in range(3):
            engine.start(surveys)
            engine.start(calls, "mail", key="about mail", key_ttl=timedelta(minutes=10)).wait()
            engine.advance(minutes=1)
        print(f"surveys asked for at 09:00, 09:01, 09:02: made {engine.count_executions('survey')}")
        first = report(engine)
        engine.advance(minutes=12)
        engine.start(calls, "mail", key="about mail", key_ttl=timedelta(minutes=10)).wait()
        made = ", ".join(f"{run.created_at:%H:%M}" for run in engine.list_executions("call", order="oldest"))
        print(f"calls about mail asked for at 09:00, 09:01, 09:02, 09:15: made at {made}")
        again = report(engine)
        print(f"report: {first}, made anew: {again}; {engine.get_archived_count()} older one in the archive")
        ask_for_repairs(engine, ("printer", 0), ("wiki", 0), ("web", 5), ("mail", 10), ("mail", 10))
        [engineer] = [limit for limit in engine.stats().limits if limit.name == "repair"]
        engine.advance(hours=4)
        repaired = ", ".join(servers.repaired.values())
        print(f"in line for the engineer at 09:15: {engineer.waiting}; repaired: {repaired}")


if __name__ == "__main__":
    main()
