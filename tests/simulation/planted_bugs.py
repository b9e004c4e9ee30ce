"""Bugs that the simulation must notice: each is a few characters of production code, changed.

Where one is not noticed, `heals` says what mends it by itself, or why nothing that a run checks can tell.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.simulation.conditions import Kind


@dataclass(frozen=True)
class Bug:
    """A change of one function.

    Args:
        name: What is wrong then.
        kind: Runs that should notice.
        where: Module and function or method, `package.module:Class.method`.
        old: A piece of its source, found there once.
        new: What stands there instead.
        heals: Why no run fails, "" where runs do.
    """

    name: str
    kind: Kind
    where: str
    old: str
    new: str
    heals: str = ""


SCORE, ROUTE, LAKE, LOOP, RELEASE = (f"shared.app.{room}" for room in ("score", "route", "lake", "loop", "release"))

STREAM = (
    Bug(
        "two workers commit the same place",
        "stream",
        f"{SCORE}.committing:_made_durable",
        'if not context.blobs.create("commits", name, raw) and context.blobs.read("commits", name) != raw:',
        'context.blobs.write("commits", name, raw)\n    if False:',
    ),
    Bug(
        "one's own commit is taken for a stranger's",
        "stream",
        f"{SCORE}.committing:_made_durable",
        ' and context.blobs.read("commits", name) != raw',
        "",
        heals="the worker reads the commit, which is its own, and goes on behind it: slower, and right",
    ),
    Bug(
        "memory changes before the commit, and is kept when it fails",
        "stream",
        f"{SCORE}.partition:Partition.take",
        "self.state = None",
        "pass",
        heals="a step works on copies: what fails before its commit has changed nothing in memory",
    ),
    Bug(
        "skipped events are not missed",
        "stream",
        f"{SCORE}.partition:Partition._process",
        "while events[0].sequence > state.next:",
        "while False:",
    ),
    Bug(
        "catching up leaves the next commit out",
        "stream",
        f"{SCORE}.recovery:_fold_all",
        "if (epoch, first) < (state.epoch, state.next):",
        "if (epoch, first) <= (state.epoch, state.next):",
    ),
    Bug(
        "recovery gives no receipts",
        "stream",
        f"{SCORE}.recovery:_replay",
        "    give_receipts(context, state, batch)\n",
        "",
        heals="the sweep sends the end markers again, and the receipts follow",
    ),
    Bug(
        "commits are removed that a snapshot still needs",
        "stream",
        f"{LAKE}.retention:Retention._oldest_snapshot",
        "return min(",
        "return max(",
        heals="recovery goes on from the lake where every snapshot that is left is older than what was removed",
    ),
    Bug(
        "the lake says a commit is whole before its readings are there",
        "stream",
        f"{LAKE}.compaction:Compaction._flush",
        "for table in self.lake.tables:",
        "for table in reversed(self.lake.tables):",
    ),
    Bug(
        "appending to the lake forgets what it holds already",
        "stream",
        f"{LAKE}.compaction:Compaction._lacking",
        "return _end(commit) > reached.get(self._app(commit), 0)",
        "return True",
    ),
    Bug(
        "a reading that was sent twice counts twice",
        "stream",
        "shared.core.forecast.tallies:Sums.of",
        "redelivered[rows] = batch.position[rows] <= passed[:-1]",
        "pass",
    ),
    Bug(
        "a minute that came before is applied again",
        "stream",
        "shared.core.forecast.step:_Work._first_of_tick",
        "repeated = again | seen",
        "repeated = again",
    ),
    Bug(
        "progress is written before the readings are sent",
        "stream",
        f"{ROUTE}.messages:RoutePartition._route",
        "    source = f",
        "    self._advance(at, etag, events, parsed, expired)\n    at, etag = self._progress()\n    source = f",
    ),
    Bug(
        "an old owner routes on from its old progress",
        "stream",
        f"{ROUTE}.messages:_may_be_stale",
        "return event.sequence != at.next or",
        "return False and",
    ),
    Bug(
        "letters are sent again under one name whatever comes of them",
        "stream",
        f"{ROUTE}.replayed:source_of",
        "for readings in sent:",
        "for readings in ():",
        heals="the scenario does not change in a run: the same letters always come to the same",
    ),
    Bug(
        "a letter leaves the dead-letter before it is sent",
        "stream",
        f"{ROUTE}.resubmit:Resubmit._blob",
        "    for number, again in enumerate(tries):",
        "    if not name.startswith(COMMITTED):\n"
        "        self._rest(name, letters, tries, {place for again in tries for place in again.gone})\n"
        "    for number, again in enumerate(tries):",
        heals="no letter of a run is accepted when it is fed back, but conflicts, whose blobs stay",
    ),
    Bug(
        "a file's end is sent before its books are open",
        "stream",
        f"{ROUTE}.files:RouteFile._route",
        "self.file_books.routed(routed)\n    self._end(routed, range(routed.partitions))",
        "self._end(routed, range(routed.partitions))\n    self.file_books.routed(routed)",
        heals="the trigger or the sweep reads the file again; its positions tell that it was sent",
    ),
    Bug(
        "champion and challenger both serve the canary's devices",
        "stream",
        f"{SCORE}.serving:ActiveModels._modelled",
        "np.ones(len(matrix), bool) if challenged is None else ~challenged.served",
        "np.ones(len(matrix), bool)",
    ),
    Bug(
        "a damaged snapshot is believed",
        "stream",
        "shared.core.forecast.snapshot:decode",
        "if hashlib.sha256(raw[start:]).digest() != raw[len(MAGIC) : start]:",
        "if False:",
    ),
    Bug(
        "a batch is committed under the number of its last event",
        "stream",
        f"{SCORE}.committing:_made_durable",
        "name = commit_name(found.partition, found.epoch, found.first)",
        "name = commit_name(found.partition, found.epoch, found.next - 1)",
    ),
)

SLOW = (
    Bug(
        "a step is taken twice",
        "loop",
        f"{RELEASE}.rollouts:Rollouts._take",
        "if find(entries, ROLLOUT, key) is not None:",
        "if False:",
        heals="the ledger itself keeps one entry a kind and key",
    ),
    Bug(
        "the control document follows backwards",
        "loop",
        f"{RELEASE}.rollouts:Rollouts._followed",
        "if step is None or now.position > step.position:",
        "if step is None:",
        heals="the ledger is read behind the document, which is written only where it still is what was read",
    ),
    Bug(
        "the control document is written without looking",
        "loop",
        f"{RELEASE}.control:ControlDocument.change",
        "self.blobs.replace(deployment.CONTAINER, deployment.NAME, deployment.encode(wanted), etag)",
        "self.blobs.write(deployment.CONTAINER, deployment.NAME, deployment.encode(wanted))",
    ),
    Bug(
        "the ledger is written without looking",
        "loop",
        "shared.app.ledger_store:Ledger._write",
        "self._blobs.replace(CONTAINER, blob_of(self._scenario, file), raw + lines, etag)",
        "self._blobs.write(CONTAINER, blob_of(self._scenario, file), raw + lines)",
    ),
    Bug(
        "the ledger enters the same thing twice",
        "loop",
        "shared.app.ledger_store:Ledger.decide",
        "if (known := find(entries, kind, key)) is not None:",
        "if (known := None) is not None:",
    ),
    Bug(
        "a model is judged against another champion than its evidence is about",
        "loop",
        f"{LOOP}.completion:Completion._judge",
        "if decided != champion:",
        "if False:",
    ),
    Bug(
        "a job is started after it has ended",
        "loop",
        f"{LOOP}.retraining:Retraining.launch",
        "if job.launched is None and job.ended is None:",
        "if job.launched is None:",
        heals="a place of jobs takes a name once, and whoever finds the end cancels the job",
    ),
    Bug(
        "whoever says that a job completed is believed",
        "loop",
        f"{LOOP}.retraining:Retraining.ended",
        "end = self._end(job)",
        'end = ("completed", "") if source == "event" else self._end(job)',
    ),
    Bug(
        "registry marks are not read back",
        "loop",
        f"{RELEASE}.registry_tags:RegistryTags.sync",
        "marks = self.registry.marks()",
        "marks = noted",
    ),
    Bug(
        "a challenger begins beside one that is on its way",
        "loop",
        f"{RELEASE}.rollouts:Rollouts.begin",
        "if now.stage in CLIMBING:",
        "if False:",
    ),
    Bug(
        "a paused challenger climbs on",
        "loop",
        f"{RELEASE}.rollouts:Rollouts._held",
        'if pauses and pauses[-1].data["action"] == "pause":',
        "if False:",
    ),
)

MENDS = (
    Bug(
        "an epoch begins without a commit that closes the one before",
        "stream",
        f"{SCORE}.epochs:enter",
        "return commit_nothing(context, state, state.next, began_ms)",
        "state.epoch, state.next = state.epoch + 1, 0\n        return True",
    ),
    Bug(
        "an epoch begins on what its worker remembers",
        "stream",
        f"{SCORE}.partition:Partition._take",
        " or epochs.anew(state, events[0])",
        "",
        heals="the closing commit has the name of what others committed there: who remembers less cannot write it",
    ),
    Bug(
        "events of a hub that is gone are committed in the new epoch",
        "stream",
        f"{SCORE}.partition:Partition._fitting",
        "gone = left_behind(self.context.stream, self.number, events, state.enqueued_ms if state.epoch else -1)",
        "gone: set[int] = set()",
    ),
    Bug(
        "messages of a hub that is gone are routed in the new epoch",
        "stream",
        f"{ROUTE}.messages:RoutePartition._take",
        "gone = left_behind(self.context.devices, self.number, events, at.enqueued_ms if at.epoch else -1)",
        "gone: set[int] = set()",
    ),
    Bug(
        "a new hub whose beginning was skipped is taken for the old one",
        "stream",
        f"{SCORE}.epochs:_goes_on",
        "return event.sequence == state.next and",
        "return event.sequence >= state.next or",
    ),
    Bug(
        "a new devices' hub whose beginning was skipped is taken for the old one",
        "stream",
        f"{ROUTE}.messages:RoutePartition._of_a_newer_hub",
        "goes_on = event.sequence == at.next and",
        "goes_on = event.sequence >= at.next or",
        heals="triggers skip too few messages to pass the old place; tests/flow/route/test_route_events.py skips more",
    ),
    Bug(
        "a worker goes on from memory that is older than what was removed",
        "stream",
        f"{SCORE}.partition:Partition._outlived",
        "return not held and removed.before(self.context.blobs, state)",
        "return False",
        heals="so old a memory is seldom given the very event it expects; tests/flow/score/test_removed.py does so",
    ),
    Bug(
        "what a store lost is not folded again",
        "stream",
        f"{LAKE}.compaction:Compaction._following",
        "self.mend(*place, expected)",
        "pass",
    ),
    Bug(
        "a replay rewrites or deletes what a commit names",
        "stream",
        f"{ROUTE}.resubmit:Resubmit._blob",
        "    if not name.startswith(COMMITTED):\n        self._rest(name, letters, tries, gone)",
        "    self._rest(name, letters, tries, gone)",
    ),
    Bug(
        "a conflict depends on how its batch is cut",
        "stream",
        "shared.core.forecast.step:_Work._first_of_tick",
        "if (differs & repeated).any():",
        "if False:",
    ),
    Bug(
        "a file has no account before it is read to its end",
        "stream",
        f"{ROUTE}.file_books:FileBooks.begun",
        'self.blobs.write(RECEIPTS, f"{key_of(routed.source)}/{BEGUN}", msgspec.json.encode(routed))',
        "pass",
    ),
    Bug(
        "one message that trips a bug takes its whole batch to the dead-letter",
        "stream",
        f"{ROUTE}.messages:RoutePartition._pieces",
        "if len(events) == 1:",
        "if True:",
        heals="no message of the world trips a bug; tests/flow/route/test_route_events.py has some that do",
    ),
    Bug(
        "what the hub forgot is looked for piece by piece",
        "stream",
        f"{SCORE}.recovery:missing",
        "begin = min(max(oldest.sequence, state.next), end)",
        "begin = min(state.next, end)",
        heals="hubs of the world forget only what is committed, which nobody looks for; tests/flow/score would not end",
    ),
)

NEWEST = (
    Bug(
        "the drift check looks at a profile that the stream has left behind",
        "stream",
        f"{SCORE}.recovery:outrun",
        "return any(hour > newest for hour in _hours_since(context, found))",
        "return False",
    ),
    Bug(
        "the drift check looks at a profile from before what was removed",
        "stream",
        f"{SCORE}.recovery:outrun",
        "if Mark(found.epoch, found.next) < mark_of(context.blobs, found.partition):",
        "if False:",
    ),
    Bug(
        "an event of a hub that is gone is taken for one of the new hub that says the same",
        "stream",
        "shared.app.left_behind:_same",
        " and abs(there.enqueued_ms - event.enqueued_ms) < NEW_HUB_MS",
        "",
    ),
    Bug(
        "a gap counts as filled although a snapshot passed it by",
        "stream",
        f"{SCORE}.recovery:_filled",
        "return bool(found.follows <= following)",
        "return True",
        heals="two owners, snapshots, compaction in one order: rare; tests/flow/score/test_lost_commits.py has it",
    ),
    Bug(
        "a gap is filled from a snapshot that stands behind it",
        "stream",
        f"{SCORE}.recovery:_before",
        "if mark <= Mark(state.epoch, state.next) <= gap:",
        "if mark <= Mark(state.epoch, state.next):",
        heals="the gap is still there then, and the next older state is tried",
    ),
    Bug(
        "what two workers commit side by side counts twice in the books",
        "stream",
        "local.books.partitions:Partitions._epoch",
        "if commit.first < next_event:",
        "if False:",
    ),
    Bug(
        "the mark of what was removed is looked at only after a pause",
        "stream",
        f"{SCORE}.partition:Partition._outlived",
        "self._held_ms if held else now",
        "now",
        heals="a day passes before a removal, so everybody pauses; in tests/flow/score/test_removed.py one does not",
    ),
    Bug(
        "no mark is raised before commits are removed",
        "stream",
        f"{LAKE}.retention:Retention._unneeded",
        "removed.raise_mark(self.blobs, partition, *max(commit.after for _, commit in old))",
        "pass",
    ),
    Bug(
        "recovery begins with a snapshot from before what was removed",
        "stream",
        f"{SCORE}.recovery:recovered",
        "found is None or removed.before(context.blobs, found)",
        "found is None",
        heals="every newer one would have to be gone, and it to come late; tests/flow/score/test_removed.py does so",
    ),
    Bug(
        "catching up begins with memory from before what was removed",
        "stream",
        f"{SCORE}.recovery:catch_up",
        "if removed.before(context.blobs, state):",
        "if False:",
        heals="it would have to have looked at the mark ten seconds before; tests/flow/score/test_removed.py does so",
    ),
    Bug(
        "commits that are removed while they are read break the contract",
        "stream",
        f"{SCORE}.recovery:_fold",
        "if not removed.before(context.blobs, state):",
        "if True:",
        heals="a removal comes seldom and is quickly over; tests/flow/score/test_removed.py removes between two reads",
    ),
    Bug(
        "a commit that was slept over until its place was removed stays",
        "stream",
        f"{SCORE}.partition:Partition._process",
        "    if done:  # it slept",
        "    if False:  # it slept",
        heals="it sleeps for a day between its forecasts and its commit; tests/flow/score/test_removed.py does so",
    ),
    Bug(
        "what another worker committed and the hub forgot counts as lost",
        "stream",
        f"{SCORE}.partition:Partition._process",
        "if state.expired > expired and",
        "if False and",
        heals="both would have to happen between two looks of a third; tests/flow/score/test_epochs.py has it",
    ),
    Bug(
        "what is sent of a file that was given up counts where it shares a batch with the end",
        "stream",
        f"{SCORE}.committing:run_of",
        " or gives_up(events[count - 1].body)",
        "",
        heals="its end and more of it seldom come in one batch; tests/flow/score/test_partition.py has every cut",
    ),
)

BUGS: tuple[Bug, ...] = (*STREAM, *MENDS, *NEWEST, *SLOW)
