"""A store that is cut off at any change of a file, or watched at each."""

from contextlib import contextmanager
from dataclasses import dataclass

from tests.support import fakes


@dataclass
class EveryChange(fakes.FaultyStore):
    """Cut off at any change of a file. seen: called after each."""

    seen: object = None

    def remove_file(self, path):
        self._change(lambda: self.store.remove_file(path))

    def replacing(self, path):
        @contextmanager
        def replaced():
            with self.store.replacing(path) as unfinished:
                yield unfinished
                if self.done + 1 == self.change and self.moment != "after":
                    self.done += 1
                    raise fakes.CutOffError
            self._change(lambda: None)

        return replaced()

    def _change(self, whole, half=None):
        super()._change(whole, half)
        if self.seen is not None:
            self.seen()
