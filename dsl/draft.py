"""A draft: what has been said of a workflow so far, every mistake found while it is said.

`Workflow` is its typed face: it knows how a definition is spelt, the draft knows what is allowed. This file must never
call a handler, and of what the user gives it asks only whether it could be called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from datetime import datetime
from itertools import zip_longest
from typing import Any, Final

from .definition import Definition, define
from .demands import Demand
from .errors import DefinitionError, did_you_mean
from .gate import GateNode, check_reminder
from .graph import Body, Node
from .joining import Tolerance, check_tolerance
from .limits import Concurrency, pool_of
from .names import check_name
from .nodes.branch import BranchNode
from .nodes.for_each import ForEachNode
from .nodes.loop import DoUntilNode, DoWhileNode
from .nodes.map import MapNode
from .nodes.parallel import ParallelNode
from .nodes.pivot import PivotNode
from .nodes.sleep import SleepNode
from .nodes.sub_workflow import SubWorkflowNode
from .options import StepOptions
from .policies import Duration, OnExhausted, check_choice, check_count, seconds
from .steps import Step, annotations_of, check_handler, make_step

__all__ = ["Draft"]

Handler = Callable[..., Any]

DEEPEST: Final = 100
"""How many bodies may stand in each other: each takes some of Python's stack wherever the graph is read."""


class Draft:
    """The nodes of a workflow, or of a block inside one, until they are frozen.

    Every method that adds raises `DefinitionError` when a name, option or function cannot be used.

    Attributes:
        name: Name of the workflow.
        version: Version of the definition, or None.
        timeout: Seconds a run may take as a whole, or None.
        on_exhausted: What becomes of steps that have failed for good and do not say so themselves.
        pool: The slots of which each run needs one, or None.
        nodes: The nodes added so far.
        types: Types whose values may have to be revived from the database.
    """

    def __init__(
        self,
        name: str,
        version: str | None,
        input_type: Any,
        timeout: Duration | None = None,
        on_exhausted: OnExhausted = "fail",
        *,
        concurrency: int | Concurrency | None = None,
        singleton: bool = False,
    ) -> None:
        self.name = check_name(name, "workflow")
        if version is not None:
            check_name(version, "version")
        self.version = version
        self.timeout = None if timeout is None else seconds(timeout, f"workflow {name!r}: timeout", positive=True)
        self.on_exhausted = check_choice(on_exhausted, OnExhausted, f"workflow {name!r}: on_exhausted")
        self.pool = pool_of(concurrency, f"workflow {name!r}", singleton=singleton)
        if self.pool is not None and self.pool.question is not None:
            check_handler(self.pool.question, f"workflow {name!r}: concurrency: key")
        self._input_type = input_type
        self.nodes: list[Node] = []
        self.types: list[Any] = [] if input_type is None else [input_type]
        self._definition: Definition | None = None
        self._depth = 0
        self._height = 0

    def stand_in(self, around: Draft) -> None:
        """Be the inside of a block of another draft, which is told before anything is added.

        Raises:
            DefinitionError: that is too deep.
        """
        self._depth = around._depth + 1
        self._check_depth()

    def freeze(self) -> Definition:
        """Return the definition; nothing can be added any more.

        Raises:
            DefinitionError: the workflow as a whole is wrong.
        """
        self._definition = self.definition()
        return self._definition

    def definition(self) -> Definition:
        """Return the definition as it would be now, if nothing was frozen yet.

        Raises:
            DefinitionError: the workflow as a whole is wrong.
        """
        if self._definition is not None:
            return self._definition
        self.check_complete()
        return define(
            self.name,
            self.nodes,
            version=self.version,
            input_type=self._input_type,
            types=self.types,
            timeout=self.timeout,
            on_exhausted=self.on_exhausted,
            pool=self.pool,
        )

    def redefined(self, definition: Definition) -> Draft:
        """Return a draft that is frozen already, with another definition."""
        other = copy(self)
        other._definition = definition  # noqa: SLF001 - it is one of us
        return other

    # ---- nodes

    def add_step(self, name: Step[Any, Any] | str, handler: Handler | None, options: StepOptions) -> None:
        """Add a step that brings its own name, or make one of a handler."""
        self._add(self._step(name, handler, options))

    def _step(self, name: Step[Any, Any] | str, handler: Any, options: StepOptions) -> Node:
        if isinstance(name, Step):
            if handler is not None or options != StepOptions():
                msg = f"step {name.name!r} brings its own handler and options: give them to @step"
                raise DefinitionError(msg)
            node = name.node()
        else:
            if callable(name):
                self._refuse_nameless(name)
            if isinstance(handler, Step):
                msg = f"step {name!r}: {handler!r} has a name of its own; write .step({handler.name})"
                raise DefinitionError(msg)
            node = make_step(name, handler, options)
        self.types.extend(node.policy.returns)
        return node

    def _refuse_nameless(self, handler: Any) -> None:
        given = getattr(handler, "__name__", type(handler).__name__)
        label = given if given.isidentifier() else "name"
        msg = f"workflow {self.name!r}: a step needs a name: .step({label!r}, {given}); or decorate it with @step"
        raise DefinitionError(msg)

    def add_map(self, name: str, transform: Handler) -> None:
        """Add a transformation."""
        check_name(name, "map")
        self.types.append(annotations_of(check_handler(transform, f"map {name!r}")))
        self._add(MapNode(name, transform))

    def add_parallel(self, fragments: Sequence[Draft], policy: Tolerance) -> None:
        """Add a group: one fragment whose nodes are the strands, or a fragment for each."""
        bodies = [self._body(fragment, "parallel") for fragment in fragments]
        if len(bodies) == 1:
            for node in bodies[0].nodes:  # each is a strand of its own, with nothing after it
                self._check_led(node, None)
            bodies = [Body((node,)) for node in bodies[0].nodes]
        if not bodies:
            msg = f"workflow {self.name!r}: an empty parallel group; give it at least one step"
            raise DefinitionError(msg)
        strands = tuple(zip(_labels(bodies), bodies, strict=True))
        name = f"parallel({','.join(label for label, _ in strands)})"
        policy = check_tolerance(policy, name, size=len(strands))
        self._add(ParallelNode(name, strands, policy, automatic=True))

    def add_for_each(
        self,
        items: Handler,
        name: Step[Any, Any] | str,
        handler: Handler | None,
        options: StepOptions,
        *,
        fragment: Draft | None,
        concurrency: int,
        max_iterations: int,
        policy: Tolerance,
    ) -> None:
        """Add a body for every item: a step, or a fragment under a name."""
        label = name.name if isinstance(name, Step) else check_name(name, "for_each")
        what = f"for_each {label!r}"
        if fragment is None:
            body = Body((self._step(name, handler, options),))
        elif handler is None and options == StepOptions() and not isinstance(name, Step):
            body = self._body(fragment, what)
        else:
            msg = f"{what}: give a handler with its options, or a block, not both"
            raise DefinitionError(msg)
        check_handler(items, f"{what}: items")
        check_count(concurrency, f"{what}: concurrency")
        check_count(max_iterations, f"{what}: max_iterations")
        policy = check_tolerance(policy, what)
        self._add(ForEachNode(label, items, body, concurrency, max_iterations, policy))

    def add_loop(
        self,
        kind: type[DoUntilNode | DoWhileNode],
        condition: Handler,
        fragment: Draft,
        *,
        max_iterations: int,
        name: str | None,
    ) -> None:
        """Add a loop of one kind or the other."""
        check_handler(condition, f"{kind.kind}: condition", arguments=2)
        check_count(max_iterations, f"{kind.kind}: max_iterations")
        body = self._body(fragment, kind.kind)
        label = f"{kind.kind}({body.nodes[0].name})" if name is None else check_name(name, kind.kind)
        self._add(kind(label, condition, body, max_iterations, automatic=name is None))

    def add_wait(
        self,
        kind: type[GateNode],
        demand: Demand,
        timeout: Duration | None,
        on_timeout: Draft | str | None,
        *,
        remind_every: Duration | None,
        remind: Handler | None,
    ) -> None:
        """Add a gate."""
        events = demand.events
        what = f"{kind.kind} {' | '.join(events)!r}"
        if not events or len(set(events)) < len(events):
            msg = f"{what}: give it events, each once"
            raise DefinitionError(msg)
        self.types.extend(signal.payload for signal in demand.signals if signal.payload is not None)
        limit = None if timeout is None else seconds(timeout, f"{what}: timeout")
        if on_timeout is not None and limit is None:
            msg = f"{what}: on_timeout needs a timeout"
            raise DefinitionError(msg)
        label = check_name(on_timeout, f"{what}: on_timeout") if isinstance(on_timeout, str) else None
        body = None
        if isinstance(on_timeout, Draft):
            body = self._body(on_timeout, f"{what}: on_timeout", may_be_empty=True)
        reminder = check_reminder(remind_every, remind, limit, what)
        if remind is not None:
            check_handler(remind, f"{what}: remind")
        self._add(kind(f"{kind.prefix}{'|'.join(events)}", demand, limit, body, reminder, label, automatic=True))

    def add_sleep(self, name: str, duration: Duration) -> None:
        """Add a sleep of so long."""
        check_name(name, "sleep")
        self._add(SleepNode(name, seconds(duration, f"sleep {name!r}")))

    def add_sleep_until(self, name: str, moment: datetime | Handler) -> None:
        """Add a sleep until a point in time."""
        check_name(name, "sleep_until")
        if not isinstance(moment, datetime):
            check_handler(moment, f"sleep_until {name!r}")
        elif moment.tzinfo is None:
            msg = f"sleep_until {name!r}: {moment!r} has no time zone; say which, for example timezone.utc"
            raise DefinitionError(msg)
        self._add(SleepNode(name, moment))

    def add_child(self, name: str, mapper: Handler | None, as_: str | None) -> None:
        """Add a sub-workflow."""
        child = check_name(name, "sub-workflow")
        if mapper is not None:
            check_handler(mapper, f"sub_workflow {child!r}: mapper")
        label = check_name(as_, "as_") if as_ is not None else child
        self._add(SubWorkflowNode(f"sub:{label}", child, mapper))

    def add_pivot(self) -> None:
        """Add the point of no return."""
        self._add(PivotNode("pivot", automatic=True))

    # ---- choices

    def add_branch(self, selector: Handler, name: str | None) -> None:
        """Begin a choice; its paths follow."""
        check_handler(selector, "branch")
        label = "branch" if name is None else check_name(name, "branch")
        self._add(BranchNode(label, selector, (), automatic=name is None))

    def add_path(self, label: str, fragment: Draft) -> None:
        """Add a path to the choice before."""
        branch = self._branch(f"path {label!r}")
        check_name(label, "path")
        if label in [taken for taken, _ in branch.paths]:
            msg = f"workflow {self.name!r}: the branch has a path {label!r} already"
            raise DefinitionError(msg)
        self.nodes[-1] = branch.with_path(label, self._body(fragment, f"path {label!r}", may_be_empty=True))

    def add_otherwise(self, fragment: Draft) -> None:
        """Add the path for every other label to the choice before."""
        branch = self._branch("otherwise")
        if branch.otherwise is not None:
            msg = f"workflow {self.name!r}: the branch has an otherwise already"
            raise DefinitionError(msg)
        self.nodes[-1] = branch.with_otherwise(self._body(fragment, "otherwise", may_be_empty=True))

    def _branch(self, what: str) -> BranchNode:
        self._check_open(what)
        if not self.nodes or not isinstance(self.nodes[-1], BranchNode):
            msg = f"workflow {self.name!r}: {what} must follow a .branch(...)"
            raise DefinitionError(msg)
        return self.nodes[-1]

    def check_complete(self) -> None:
        """Raise `DefinitionError` when a choice is without paths, or without the one that a gate leads to."""
        self._check_paths()
        for gate, after in zip_longest(self.nodes, self.nodes[1:]):
            self._check_led(gate, after)

    def _check_paths(self) -> None:
        if self.nodes and isinstance(branch := self.nodes[-1], BranchNode) and not branch.bodies():
            msg = f"workflow {self.name!r}: a branch without paths; add .path(label, block)"
            raise DefinitionError(msg)

    def _check_led(self, gate: Node, after: Node | None) -> None:
        if not isinstance(gate, GateNode) or gate.leads_to is None:
            return
        labels = [label for label, _ in after.paths] if isinstance(after, BranchNode) else []
        if gate.leads_to not in labels:
            msg = (
                f"workflow {self.name!r}: {gate.kind} {gate.demand.label!r}: on_timeout={gate.leads_to!r} names a path "
                "of the branch right after the gate, and there is none: add .branch(...).path(...), or give a block"
                f"{did_you_mean(gate.leads_to, labels)}"
            )
            raise DefinitionError(msg)

    # ---- building

    def _add(self, node: Node) -> None:
        self._check_open(node.name)
        self._check_paths()
        self.nodes.append(node)

    def _check_open(self, what: str) -> None:
        if self._definition is not None:
            msg = f"workflow {self.name!r} is registered and cannot be changed (adding {what!r}); build a new one"
            raise DefinitionError(msg)

    def _check_depth(self) -> None:
        if self._depth + self._height > DEEPEST:
            msg = (
                f"workflow {self.name!r} is nested more than {DEEPEST} levels deep; "
                "give an inner part a name of its own, as a workflow that is started by sub_workflow"
            )
            raise DefinitionError(msg)

    def _body(self, fragment: Draft, what: str, *, may_be_empty: bool = False) -> Body:
        if fragment is self:
            msg = f"workflow {self.name!r}: {what} cannot hold the workflow itself"
            raise DefinitionError(msg)
        own = {"a timeout": fragment.timeout, "a limit of concurrency": fragment.pool}
        for option in (option for option, value in own.items() if value is not None):
            msg = (
                f"workflow {self.name!r}: {what} has {option}, which is for runs of its own; "
                "add it as a sub_workflow, or leave that out"
            )
            raise DefinitionError(msg)
        fragment.check_complete()
        if not fragment.nodes and not may_be_empty:
            msg = f"workflow {self.name!r}: the body of {what} is empty"
            raise DefinitionError(msg)
        self._height = max(self._height, fragment._height + 1)
        self._check_depth()
        self.types.extend(fragment.types)
        body = Body(tuple(fragment.nodes))
        return body.parking() if fragment.on_exhausted == "park" else body


def _labels(strands: list[Body]) -> Iterator[str]:
    """Yield what each strand is called: its first node's name, with a number where gates or choices are alike."""
    taken: Counter[str] = Counter()
    for name in (strand.nodes[0].name for strand in strands):
        taken[name] += 1
        yield name if taken[name] == 1 else f"{name}#{taken[name]}"
