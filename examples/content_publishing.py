"""Content publishing: an editor reviews, the author revises, until the editor is content or says no.

The loop waits for a typed signal in each turn. Reviews are kept in the run's mailbox, so it does not matter whether the
editor is early, late, or answers while the process is down.

    Durable by design: published
      revised: shorter title; name the sources
      public on: site, feed, newsletter
    Ten weird tricks: rejected
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from perdure import Context, Engine, Execution, ExecutionFinished, Signal, Workflow, step


@dataclass(frozen=True)
class Draft:
    """What an author hands in."""

    title: str
    text: str


@dataclass(frozen=True)
class Review:
    """What the editor says: ``accept``, ``revise`` or ``reject``."""

    verdict: str
    remark: str = ""


class Press:
    """Drafts on the author's desk and everything that went public, by key."""

    def __init__(self) -> None:
        self.revisions: dict[str, str] = {}
        self.public: dict[str, str] = {}

    def revise(self, key: str, remark: str) -> str:
        """Work a remark into the text."""
        return self.revisions.setdefault(key, remark)

    def publish(self, key: str, channel: str, title: str) -> str:
        """Make it public on one channel."""
        self.public[key] = f"{channel}: {title}"
        return channel


press = Press()
services = (press,)
review = Signal("review", Review)


@step
def revise(ctx: Context[Draft]) -> list[str]:
    """Do what the editor asked for, and remember all remarks so far."""
    remarks: list[str] = ctx.get(revise, [])
    return [*remarks, press.revise(ctx.idempotency_key, ctx[review].remark)]


@step
def publish_on_site(ctx: Context[Draft]) -> str:
    """Put the article on the site."""
    return press.publish(ctx.idempotency_key, "site", ctx.input.title)


@step
def publish_in_feed(ctx: Context[Draft]) -> str:
    """Put the article in the feed."""
    return press.publish(ctx.idempotency_key, "feed", ctx.input.title)


@step
def publish_in_newsletter(ctx: Context[Draft]) -> str:
    """Put the article in the next newsletter."""
    return press.publish(ctx.idempotency_key, "newsletter", ctx.input.title)


articles = (
    Workflow("article", input=Draft)
    .wait_for(review)
    .do_while(lambda ctx: ctx[review].verdict == "revise", lambda w: w.step(revise).wait_for(review), max_iterations=10)
    .branch(lambda ctx: ctx[review].verdict)
    .path("accept", lambda w: w.parallel(publish_on_site, publish_in_feed, publish_in_newsletter))
    .path(
        "reject", lambda w: w.step("inform_author", lambda ctx: press.publish(ctx.idempotency_key, "author", "sorry"))
    )
)
workflows = (articles,)


def drive(engine: Engine) -> dict[str, Execution]:
    """Hand in two drafts and review them; ids and signal keys make a second call harmless."""
    reviews = {
        "Durable by design": [
            Review("revise", "shorter title"),
            Review("revise", "name the sources"),
            Review("accept"),
        ],
        "Ten weird tricks": [Review("reject")],
    }
    ends: dict[str, Execution] = {}
    for title, verdicts in reviews.items():
        run = engine.start(articles, Draft(title, "..."), id=title)
        for number, verdict in enumerate(verdicts, 1):
            with suppress(ExecutionFinished):
                run.signal(review, verdict, key=f"review-{number}")
        ends[title] = run.wait()
    return ends


def main() -> None:
    """Tell what became of both drafts."""
    with (
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/articles.db", *workflows) as engine,
    ):
        ends = drive(engine)
        for title, end in ends.items():
            published = [name for name in end.steps if name.startswith("publish_")]
            print(f"{title}: {'published' if published else 'rejected'}")
            if published:
                print(f"  revised: {'; '.join(end.steps['revise'].result)}")
                print(f"  public on: {', '.join(end.steps[name].result for name in published)}")


if __name__ == "__main__":
    main()
