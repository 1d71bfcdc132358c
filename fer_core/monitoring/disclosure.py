"""What a report may show of persons."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Disclosure:
    """By default nothing."""

    names: bool = False
    """Addresses of images and their folders."""
    faces: bool = False
    """Kept crops, where the root's policy allows them."""

    @property
    def personal(self) -> bool:
        """Whether the page has to be protected, found and deleted like the photographs."""
        return self.names or self.faces
