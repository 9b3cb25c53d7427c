"""Folders of a warehouse, on local disk or in an object store, through one interface."""

from dataclasses import dataclass, field
from datetime import datetime

from pyarrow import fs

from feature_store.errors import storage_errors


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as its storage lists it; `modified` is the storage's own time, UTC."""

    uri: str
    bytes: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder: `uri` as readers are told it, `path` as the file system takes it."""

    uri: str
    path: str
    filesystem: fs.FileSystem = field(compare=False, repr=False)

    def child(self, name: str) -> "Folder":
        """The folder `name` in this one; it need not be there."""
        return Folder(f"{self.uri}/{name}", f"{self.path}/{name}", self.filesystem)

    def below(self, uri: str) -> "Folder":
        """The folder of this URI, which is below this one."""
        return Folder(uri, self.path_of(uri), self.filesystem)

    def path_of(self, uri: str) -> str:
        """The file system's path of a file below this folder."""
        return self.path + uri.removeprefix(self.uri)

    def files(self) -> list[StoredFile]:
        """Every file below the folder, by URI; empty where the folder isn't there."""
        selector = fs.FileSelector(self.path, recursive=True, allow_not_found=True)
        found = [
            StoredFile(self.uri + info.path.removeprefix(self.path), info.size, info.mtime)
            for info in self.filesystem.get_file_info(selector)
            if info.type == fs.FileType.File
        ]
        return sorted(found, key=lambda file: file.uri)

    def create(self) -> None:
        """Make the folder and its parents, where the storage has folders.

        Raises:
            StorageUnavailable: the storage is read-only, full or not permitted.
        """
        with storage_errors(self.uri):
            self.filesystem.create_dir(self.path, recursive=True)

    def read(self, name: str) -> bytes | None:
        """Bytes of a file in the folder; None where it isn't there."""
        try:
            with self.filesystem.open_input_stream(f"{self.path}/{name}") as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Replace a file in the folder.

        Raises:
            StorageUnavailable: the storage is read-only, full or not permitted.
        """
        with (
            storage_errors(self.uri),
            self.filesystem.open_output_stream(f"{self.path}/{name}") as out,
        ):
            out.write(content)

    def delete(self) -> None:
        """Remove the folder with all that is in it; nothing happens where it isn't there."""
        with storage_errors(self.uri):
            if self.filesystem.get_file_info(self.path).type == fs.FileType.Directory:
                self.filesystem.delete_dir(self.path)

    def delete_file(self, uri: str) -> None:
        """Remove one file below the folder; nothing happens where it isn't there."""
        with storage_errors(self.uri):
            try:
                self.filesystem.delete_file(self.path_of(uri))
            except FileNotFoundError:
                return
