"""What `label` and `relabel` share: a flow that labels runs with workers and an orchestrator, and what ends early can be resumed."""

import argparse
import shlex
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from flows.cli.answer_options import read_prior
from flows.output import print_failure

if TYPE_CHECKING:
    from flows.cli.progress_bar import Display
    from flows.form_fields import LabellingParams

P = TypeVar("P", bound="LabellingParams")
S = TypeVar("S")

ADDRESSES = {"source", "to", "root"}
"""Parameters that `LabellingRun.words` names."""


@dataclass(frozen=True, slots=True)
class LabellingRun(Generic[P, S]):
    """One run of a command."""

    params: P
    root: str
    """Of the labels."""
    images: int
    """Images to label, or enough of them to keep every worker busy."""
    words: tuple[str, ...]
    """The command and its addresses, as they are typed: `label SOURCE --to ROOT`."""
    load_flow: Callable[[], Callable[[P], S]]
    """Imports the flow, which takes seconds: the orchestrator and the workers start meanwhile."""
    verbose: bool
    as_json: bool = False

    def run(self) -> S:
        """What the flow returns. An error or an interrupt says how the run is resumed, if it has begun."""
        from fer_core.errors import FerflowError
        from tasks.execution.signals import stop_requested

        try:
            return self._run_flow()
        except KeyboardInterrupt:
            raise FerflowError(f"interrupted; {self.how_to_resume()}") from None
        except Exception as error:
            if stop_requested():  # a library caught the interrupt and raised its own error
                raise FerflowError(f"interrupted; {self.how_to_resume()}") from None
            if isinstance(error, FerflowError) and (hint := self.how_to_resume()).startswith("resume"):
                raise type(error)(f"{str(error).rstrip('.')}; {hint}") from error
            raise

    def _run_flow(self) -> S:
        """Everything that is started here is stopped here, whatever happens."""
        from fer_core.tables.light_arrow import keep_pandas_out
        from flows.cli.progress_bar import Display
        from flows.server.garbage_collection import resume_collection
        from flows.server.prefect_api import prefect_api
        from flows.server.session import session
        from tasks.execution.progress import listening
        from tasks.execution.signals import ending_at_once, raise_if_stop_requested

        cluster = self.params.workers_wanted
        with ExitStack() as stack:
            display = stack.enter_context(Display())
            stack.enter_context(session())
            beginning = stack.enter_context(ExitStack())
            beginning.callback(resume_collection)
            beginning.enter_context(ending_at_once(lambda: self._end_at_once(display)))
            api = stack.enter_context(prefect_api(verbose=self.verbose))
            keep_pandas_out()
            if self.images:
                stack.enter_context(cluster.start_early(self.images, self.params.shard_size, self.verbose))
            flow = self.load_flow()
            import fastapi.encoders  # noqa: F401  (Prefect imports it when a flow begins; here the orchestrator starts meanwhile)

            stack.enter_context(api.ready())
            stack.enter_context(listening(display.show, display.warn, display.stage))
            raise_if_stop_requested()
            beginning.close()
            return flow(self.params)

    def _end_at_once(self, display: "Display") -> None:
        display.remove_bar()
        print_failure(self.as_json, f"interrupted; {self.how_to_resume()}")

    def how_to_resume(self) -> str:
        """`resume with: ` and the command, if the run has begun and is not committed; else which of both it is."""
        from fer_core.commit.publish import is_committed
        from fer_core.errors import StoreError
        from fer_core.storage.paths import plan_file
        from fer_core.storage.store import open_store

        run_id = self.params.resume or self.params.run_id
        assert run_id is not None
        try:
            store = open_store(self.root)
            if is_committed(store, run_id):
                return f"run {run_id} is committed"
            begun = store.exists(plan_file(run_id))
        except StoreError:
            begun = True
        if not begun:
            return "the run was not started: run the same command again"
        return f"resume with: {resume_command(self.words, self.params, run_id)}"


def resume_command(words: tuple[str, ...], params: "LabellingParams", run_id: str) -> str:
    """What to type. words: see `LabellingRun.words`."""
    command = ["ferflow", *words, "--resume", run_id]
    given = params.model_dump(exclude_defaults=True, exclude={*ADDRESSES, "run_id", "resume"})
    for name, value in (given | ({"cluster": params.cluster.as_text()} if "cluster" in given else {})).items():
        for each in value if isinstance(value, tuple | list) else [value]:
            command += [f"--{name.replace('_', '-')}"] + ([] if each is True else [str(each)])
    return shlex.join(command)


def given_options(args: argparse.Namespace, form: "type[LabellingParams]") -> dict[str, object]:
    """The options that were given, which have the names of the form's fields."""
    given = {name: value for name, value in vars(args).items() if name in form.model_fields and value is not None}
    return {**given, "prior": read_prior(args.prior)} if "prior" in given else given
