"""Raw files as Spark's own file systems see them: whatever address Spark reads works here."""

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from pipelines.errors import DeliveryUnreadable

_SPARK_CANT_READ = re.compile(
    r"\[(?:FAILED_READ_FILE|CANNOT_READ_FILE_FOOTER)[^\]]*\][^\n]*?(?P<file>\w+:/\S+?)\.?\s"
)
_CAUSE = re.compile(r"Caused by: (?P<kind>[\w.$]+)(?:: (?P<text>[^\n]+))?")
_DENIED = re.compile(r"AccessDenied|AccessControlException|Permission denied")
_GLOB = re.compile(r"([\[\]{}*?\\])")


def literal(address: str) -> str:
    """An address as Spark's readers take it without looking for a pattern in it."""
    return _GLOB.sub(r"\\\1", address)


@dataclass(frozen=True, order=True)
class RawFile:
    """A file or folder as a listing gives it: its name below the folder listed, and its size."""

    name: str
    address: str
    num_bytes: int
    is_folder: bool = False


class RawFiles:
    """Looks at raw files without reading them as data.

    Args:
        spark: whose Hadoop file systems are used.
        root: where a relative path starts.
    """

    def __init__(self, spark: SparkSession, root: Path) -> None:
        self._jvm: Any = spark._jvm
        self._configuration: Any = spark._jsc.hadoopConfiguration()
        self._root = root

    def resolve(self, path: str) -> str:
        """The full address of a path."""
        full = path if "://" in path else str(self._root / path)
        hadoop_path = self._path(full)
        return str(self._system(hadoop_path).makeQualified(hadoop_path).toString())

    def uris(self, address: str) -> tuple[str, str]:
        """How Spark may write a file's address in `_metadata.file_path`: one of these."""
        path = self._path(address)
        uri = str(self._system(path).makeQualified(path).toUri().toString())
        scheme, _, rest = uri.partition(":")
        return f"{scheme}:/{rest.lstrip('/')}" if scheme == "file" else uri, uri

    def exists(self, address: str) -> bool:
        """Whether there is a file or folder."""
        path = self._path(address)
        with readable(address):
            return bool(self._system(path).exists(path))

    def is_folder(self, address: str) -> bool:
        """Whether there is a folder."""
        path = self._path(address)
        with readable(address):
            system = self._system(path)
            return bool(system.exists(path) and system.getFileStatus(path).isDirectory())

    def names(self, folder: str) -> list[str]:
        """Names in a folder, sorted, hidden ones left out; [] where there is no folder."""
        names = [entry.name for entry in self.entries(folder)]
        return [name for name in names if not name.startswith((".", "_"))]

    def entries(self, folder: str) -> list[RawFile]:
        """Everything in a folder, sorted by name; [] where there is no folder."""
        if not self.is_folder(folder):
            return []
        path = self._path(folder)
        with readable(folder):
            listed = self._system(path).listStatus(path)
            return sorted(self._raw_file(status, folder) for status in listed)

    def walk(self, folder: str) -> list[RawFile]:
        """Every file in a folder and its sub-folders, sorted by name."""
        path = self._path(folder)
        files = []
        with readable(folder):
            listing = self._system(path).listFiles(path, True)
            while listing.hasNext():
                files.append(self._raw_file(listing.next(), folder))
        return sorted(files)

    def file(self, address: str) -> RawFile:
        """A file or folder by its address."""
        path = self._path(address)
        return self._raw_file(self._system(path).getFileStatus(path), address.rpartition("/")[0])

    def head(self, file: str, num_bytes: int) -> bytes:
        """The first bytes of a file, decompressed.

        Raises:
            DeliveryUnreadable: the file can't be opened or decompressed.
        """
        with readable(file):
            # Spark's, as its readers use it: Hadoop's own needs native libraries for zstd.
            opened = self._jvm.org.apache.spark.io.HadoopCodecStreams.createInputStream
            stream = opened(self._configuration, self._path(file))
            try:
                return bytes(stream.readNBytes(num_bytes))
            finally:
                stream.close()

    def parquet_footer(self, file: str) -> tuple[list[tuple[str, str, Any]], list[str]]:
        """A Parquet file's columns, and the compressions in it that can't be undone here.

        Of a column: its name, what the footer declares as text, and the same as a Java object.

        Raises:
            DeliveryUnreadable: the footer can't be read.
        """
        hadoop = self._jvm.org.apache.parquet.hadoop
        with readable(file):
            source = hadoop.util.HadoopInputFile.fromPath(self._path(file), self._configuration)
            reader = hadoop.ParquetFileReader.open(source)
            try:
                fields = reader.getFileMetaData().getSchema().getFields()
                columns = [(str(field.getName()), str(field.toString()), field) for field in fields]
                codecs = {
                    str(chunk.getCodec().name()): chunk.getCodec()
                    for block in itertools.islice(reader.getRowGroups(), 1)
                    for chunk in block.getColumns()
                }
                foreign = [name for name, codec in sorted(codecs.items()) if not self._has(codec)]
                return columns, foreign
            finally:
                reader.close()

    def _has(self, codec: Any) -> bool:
        """Whether Parquet's reader finds what undoes a compression."""
        name = codec.getHadoopCompressionCodecClassName()
        return name is None or self._configuration.getClassByNameOrNull(name) is not None

    def _raw_file(self, status: Any, folder: str) -> RawFile:
        address = str(status.getPath().toString())
        return RawFile(
            name=address.removeprefix(f"{folder}/"),
            address=address,
            num_bytes=int(status.getLen()),
            is_folder=bool(status.isDirectory()),
        )

    def _path(self, address: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(address)

    def _system(self, path: Any) -> Any:
        return path.getFileSystem(self._configuration)


@contextmanager
def readable(file: str = "") -> Iterator[None]:
    """Say which raw file is broken, where Spark says it in a stack trace.

    Args:
        file: the file, where the caller knows it.

    Raises:
        DeliveryUnreadable: a file can't be read to its end.
    """
    try:
        yield
    except (PySparkException, Py4JError) as error:
        text = _full_text(error)
        found = _SPARK_CANT_READ.search(text)
        broken = file or (found and found["file"])
        if not broken:
            raise
        if _DENIED.search(text):
            raise DeliveryUnreadable(
                f"{broken} can't be read: whoever runs this may not. Nothing was published; allow "
                "it, then run the day again"
            ) from error
        raise DeliveryUnreadable(
            f"raw file {broken} can't be read: {_cause(text)}. Nothing was published. A file cut "
            "short in transfer looks like this: deliver it again, then run the day again"
        ) from error


def _full_text(error: Exception) -> str:
    """The error with its Java causes, the outermost first."""
    java = f"Caused by: {error.java_exception}\n" if isinstance(error, Py4JJavaError) else ""
    return f"{java}{error}\n{getattr(error, '_stackTrace', None) or ''}"


def _cause(text: str) -> str:
    """What the innermost cause says, or its name where it says nothing."""
    causes = list(_CAUSE.finditer(text))
    if not causes:
        return text.strip().splitlines()[0]
    return causes[-1]["text"] or causes[-1]["kind"].rpartition(".")[2]
