"""Which files a delivery has: folders are read whole, and what isn't read has a name and a reason.

A file is data by its name alone: a suffix of the format, in any case, and neither hidden nor
temporary. Two forms of one part (`x.csv` and `x.csv.gz`, a file and a folder) may hold the same
rows or not, so that neither is read.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pipelines.errors import DataRefused, DeliveryUnreadable
from pipelines.sources.file_names import SUFFIXES, Format, is_never_data, stem, suffix_of
from pipelines.sources.interface import LeftOut
from pipelines.sources.raw_files import RawFile, RawFiles

_HIDDEN = "hidden or temporary"
_EMPTY = "zero bytes"
_NO_DAY = "no day of the calendar"
_DAY = r"\d{4}-\d{2}-\d{2}"
_ENTRY = re.compile(rf"(?:(?:day|date|dt)=)?(?P<day>{_DAY})(?P<rest>(?:\..+)?)")


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The data files of one address, sorted by name, and what is left out of it."""

    files: tuple[RawFile, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, kw_only=True)
class Days:
    """Deliveries by their day.

    Args:
        folder: where they lie.
        forms: addresses of each day, sorted; more than one are two forms of it.
        left_out: what lies beside them and is no delivery.
    """

    folder: str
    forms: Mapping[date, Sequence[str]]
    left_out: tuple[LeftOut, ...]


def contents(raw_files: RawFiles, address: str, kind: Format, *, root: str) -> Contents:
    """The data files of a delivery: of a folder with all sub-folders, or the file itself.

    Args:
        raw_files: where to look.
        address: of the folder or file. A file that is named may end in anything but what another
            format's files end in.
        kind: the format.
        root: the folder that files are named from.

    Raises:
        DataRefused: there are two forms of one part, files of other formats alone, or a file of
            another format by its name.
        DeliveryUnreadable: there are no files.
    """
    if not raw_files.is_folder(address):
        name = address.rpartition("/")[2]
        _refuse_other_format(name, kind)
        if name.startswith((".", "_")):
            raise DataRefused(f"{name} is hidden, and Spark reads no hidden file; rename it")
        return _sorted_out([raw_files.file(address)], kind, root, is_named=True)
    return _sorted_out(raw_files.walk(address), kind, root, is_named=False, folder=address)


def days_in(raw_files: RawFiles, folder: str, kind: Format) -> Days:
    """Entries of a folder named by a day: `<day>`, `day=<day>`, `<day>.csv` and the like."""
    forms: dict[date, list[str]] = defaultdict(list)
    left_out = []
    for entry in raw_files.entries(folder):
        match = _ENTRY.fullmatch(entry.name)
        is_kind = match and (not match["rest"] or match["rest"] == suffix_of(entry.name, kind))
        day = _date(match["day"]) if match else None
        if is_never_data(entry.name):
            left_out.append(LeftOut(entry.name, _HIDDEN))
        elif match and day is None:
            left_out.append(LeftOut(entry.name, _NO_DAY))
        elif day is None or not is_kind:
            left_out.append(LeftOut(entry.name, f"no day's {kind}"))
        else:
            forms[day].append(entry.address)
    return Days(folder=folder, forms=forms, left_out=tuple(left_out))


def days_of_pattern(raw_files: RawFiles, path: str, kind: Format) -> Days:
    """Deliveries that a path with `{day}` finds, looked up where `{day}` first stands.

    A path that ends in a bare `{day}` means folders and files of days, as the folder alone does.
    """
    before, _, after = path.partition("{day}")
    parent = before.rpartition("/")[0]
    part = path[len(parent) :].lstrip("/").split("/")[0]
    folder = raw_files.resolve(parent)
    if part == "{day}" and not after:
        return days_in(raw_files, folder, kind)
    pattern = _day_pattern(part)
    forms: dict[date, list[str]] = {}
    left_out = []
    for entry in raw_files.entries(folder):
        match = pattern.fullmatch(entry.name)
        day = _date(match[1]) if match else None
        if match and day is None:
            left_out.append(LeftOut(entry.name, _NO_DAY))
        elif day is not None:
            address = raw_files.resolve(path.replace("{day}", day.isoformat()))
            if raw_files.exists(address):
                forms[day] = [address]
    return Days(folder=folder, forms=forms, left_out=tuple(left_out))


def deliveries(
    raw_files: RawFiles, days: Days, wanted: Iterable[date], kind: Format
) -> tuple[dict[date, tuple[RawFile, ...]], tuple[LeftOut, ...]]:
    """The data files of some days' deliveries, and what is left out of them and beside them.

    Raises:
        DataRefused: a day or a part has two forms, or a day has files of other formats alone.
        DeliveryUnreadable: the last day has no files; an earlier one is left out.
    """
    files: dict[date, tuple[RawFile, ...]] = {}
    left_out = list(days.left_out)
    wanted = list(wanted)
    listed: dict[str, list[RawFile]] = {}
    for day in wanted:
        forms = set(days.forms[day])
        for form in days.forms[day]:
            parent = form.rpartition("/")[0]
            if parent not in listed:
                listed[parent] = raw_files.entries(parent)
            forms |= _beside(form, listed[parent], kind, days.folder, left_out)
        if len(forms) > 1:
            raise _two_forms(str(day), [_below(form, days.folder) for form in forms])
        try:
            of_day = contents(raw_files, days.forms[day][0], kind, root=days.folder)
        except DeliveryUnreadable:
            if day == wanted[-1]:
                raise
            left_out.append(LeftOut(_below(days.forms[day][0], days.folder), "no files"))
            continue
        files[day] = of_day.files
        left_out += of_day.left_out
    return files, tuple(dict.fromkeys(left_out))


def _beside(
    address: str,
    entries: Iterable[RawFile],
    kind: Format,
    root: str,
    left_out: list[LeftOut],
) -> set[str]:
    """Other forms of a delivery beside it; what isn't data is added to what is left out."""
    own = address.rpartition("/")[2]
    others = set()
    for entry in entries:
        if entry.name == own or not entry.name.startswith(stem(own, kind)):
            continue
        if is_never_data(entry.name):
            left_out.append(LeftOut(_below(entry.address, root), _HIDDEN))
        elif stem(entry.name, kind) == stem(own, kind):
            others.add(entry.address)
    return others


def _sorted_out(
    there: Sequence[RawFile], kind: Format, root: str, *, is_named: bool, folder: str = ""
) -> Contents:
    files, left_out = [], []
    for file in there:
        inner = file.name.split("/")
        hidden = next((n for n, part in enumerate(inner, 1) if is_never_data(part)), None)
        name = _below(file.address, root)
        if hidden and not is_named:
            # Of a hidden folder its own name, and not those of its files.
            cut = len(inner) - hidden
            left_out.append(LeftOut(name.rsplit("/", cut)[0] if cut else name, _HIDDEN))
        elif not is_named and not suffix_of(file.name, kind):
            left_out.append(LeftOut(name, f"no {kind}"))
        else:
            files.append(file)
    if not is_named:
        _refuse_two_forms(files, kind)
        _refuse_nothing(files, left_out, kind, folder)
    left_out += [LeftOut(_below(f.address, root), _EMPTY) for f in files if not f.num_bytes]
    return Contents(
        files=tuple(file for file in files if file.num_bytes),
        left_out=tuple(dict.fromkeys(left_out)),
    )


def _refuse_two_forms(files: Iterable[RawFile], kind: Format) -> None:
    forms: dict[str, set[str]] = defaultdict(set)
    for file in files:
        folders = file.name.split("/")[:-1]
        for depth in range(1, len(folders) + 1):
            path = folders[:depth]
            forms["/".join(stem(part, kind) for part in path)].add("/".join(path) + "/")
        forms["/".join(stem(part, kind) for part in file.name.split("/"))].add(file.name)
    for part, names in forms.items():
        if len(names) > 1:
            raise _two_forms(part, names)


def _two_forms(what: str, names: Iterable[str]) -> DataRefused:
    first, second, *_ = sorted(names)
    return DataRefused(
        f"{what} is there in two forms: {first} and {second}. One of them may be half of it or an "
        "old one; take away the one that doesn't count, then run the day again"
    )


def _refuse_nothing(
    files: Sequence[RawFile], left_out: Sequence[LeftOut], kind: Format, folder: str
) -> None:
    if files:
        return
    others = [file.file for file in left_out if file.why != _HIDDEN]
    if others:
        raise DataRefused(
            f"no {kind} files in {folder}: there are {_few(others)}. {_set_format(kind)}, or "
            "deliver that format"
        )
    hidden = f"; {_few([f.file for f in left_out])} is hidden or temporary" if left_out else ""
    raise DeliveryUnreadable(
        f"no files in {folder}{hidden}. Run the day again when the delivery has arrived"
    )


def _refuse_other_format(name: str, kind: Format) -> None:
    other = next((each for each in SUFFIXES if each != kind and suffix_of(name, each)), None)
    if other is not None:
        raise DataRefused(f"{name} is {other} by its name. {_set_format(kind)}, or rename the file")


def _set_format(kind: Format) -> str:
    return (
        f"source.format (of a catalogue source.catalogue.format) is {kind!r}, whose names end in "
        f"{', '.join(SUFFIXES[kind])}; set it to what is delivered"
    )


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _below(address: str, folder: str) -> str:
    return address.removeprefix(f"{folder}/")


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _day_pattern(name: str) -> re.Pattern[str]:
    """What matches a name in which `{day}` stands for a day, the same one wherever it stands."""
    first, *others = re.escape(name).split(re.escape("{day}"))
    return re.compile(first + f"({_DAY})" + r"\1".join(others))
