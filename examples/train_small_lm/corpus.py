"""Texts that a machine with Python has anyway, as tokens: prose and Python code to train on, C headers to test on alone.

Prose is documentation (.rst, .md, .txt, .pod), English manual pages, and the docstrings of Python files; code is Python
files without their docstrings, so that no sentence belongs to both. A file is for training or for testing by a hash of its
last two path components, so another version or a vendored copy of a test file is not trained on either; and a paragraph
of any length worth the name is kept once in all, so what is tested on was not seen elsewhere. What there is depends on
the machine: tokens are made once, kept in a folder, and named by a fingerprint.

python examples/train_small_lm/corpus.py --out DATA
"""

from __future__ import annotations

import argparse
import ast
import gzip
import hashlib
import json
import re
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TRAINED = ("prose", "code")
SUFFIXES = {".py": ("prose", "code"), ".h": ("ood",), ".hpp": ("ood",)} | dict.fromkeys(
    (".rst", ".md", ".txt", ".pod"), ("prose",)
)
LISTS = ("SOURCES.txt", "top_level.txt", "entry_points.txt")
SYSTEM = ("doc", "man", "perl")
FAMILY = {"man": 2, "perl": 2, "doc": 1, "include": 1}  # path component that names what a file belongs to, else the first
PARTS = [*((kind, side) for kind in TRAINED for side in ("train", "test")), ("ood", "test")]
END = "<|end|>"
TEST_ONE_IN = 20
SHORTEST = 400  # characters; below are stubs, lists of modules and links
WORDS = {"prose": 0.7, "code": 0.6, "ood": 0.6}  # least share of letters and blanks; below are tables of numbers
PARAGRAPH = 80  # characters; shorter ones may repeat
MOST = 0.1  # share of a kind that may belong to one package or command, of which some have thousands of like pages
TOKENIZER_SAMPLE = 8_000_000  # characters per kind; merges no longer change much


class Corpus(NamedTuple):
    """Tokens by kind, training texts end to end and test texts end to end; ``end`` is the token between two of them."""

    train: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    vocab: int
    end: int
    fingerprint: str


class Text(NamedTuple):
    """A text, its kind, and the file it came from."""

    kind: str
    file: str
    text: str


def main() -> None:
    """Make the tokens."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the tokens")
    parser.add_argument("--texts", type=Path, nargs="+", default=usual_folders(), help="folders that texts are taken from")
    parser.add_argument("--vocab", type=int, default=2048, help="tokens of the vocabulary")
    parser.add_argument("--megabytes", type=float, default=40.0, help="most text of a kind")
    print(json.dumps(prepare(**vars(parser.parse_args())), indent=1))


def usual_folders() -> list[Path]:
    """Standard library, installed packages, documentation of the system, C headers; those that exist."""
    paths = sysconfig.get_paths()
    system = [Path("/usr/share") / name for name in SYSTEM]
    return [path for path in (Path(paths["stdlib"]), Path(paths["purelib"]), *system, Path("/usr/include")) if path.is_dir()]


def prepare(*, out: Path, texts: list[Path], vocab: int, megabytes: float) -> dict:
    """Write tokens of all kinds, the tokenizer and ``corpus.json`` to a new folder; returns what is in the last."""
    out.mkdir(parents=True)
    parts: dict[tuple[str, str], list[Text]] = {part: [] for part in PARTS}
    for text in collect(texts, characters=int(megabytes * 1e6)):
        parts[text.kind, side_of(text)].append(text)
    tokenizer = learn_tokenizer([parts[kind, "train"] for kind in TRAINED], vocab=vocab)
    tokenizer.save(str(out / "tokenizer.json"))
    counts, fingerprint = {}, hashlib.sha256()
    for (kind, side), members in parts.items():
        tokens = encode(tokenizer, members)
        np.save(out / f"{kind}_{side}.npy", tokens)
        (out / f"{kind}_{side}.txt").write_text("\n".join(text.file for text in members))
        fingerprint.update(tokens.tobytes())
        size = sum(len(text.text.encode()) for text in members)
        counts[f"{kind}_{side}"] = {"texts": len(members), "bytes": size, "tokens": len(tokens)}
    end, vocab = tokenizer.token_to_id(END), tokenizer.get_vocab_size()
    about = {"fingerprint": fingerprint.hexdigest()[:16], "vocab": vocab, "end": end, "parts": counts}
    (out / "corpus.json").write_text(json.dumps(about, indent=1))  # last: a folder without it is not finished
    return about


def load(folder: Path) -> Corpus:
    """Tokens that ``prepare`` made, left on disk until used."""
    if not (folder / "corpus.json").is_file():
        raise FileNotFoundError(
            f"data must be a folder with a corpus.json; got {folder}. Make one with corpus.py --out {folder}."
        )
    about = json.loads((folder / "corpus.json").read_text())
    sides: dict[str, dict[str, np.ndarray]] = {"train": {}, "test": {}}
    for kind, side in PARTS:
        sides[side][kind] = np.load(folder / f"{kind}_{side}.npy", mmap_mode="r")
    return Corpus(**sides, vocab=about["vocab"], end=about["end"], fingerprint=about["fingerprint"])


def collect(folders: list[Path], *, characters: int) -> Iterator[Text]:
    """Texts in the order of a hash of their names, at most so many characters a kind, no long paragraph twice."""
    used, seen = Counter(), set()
    limits = {"ood": characters // TEST_ONE_IN}  # of which nothing is trained on

    def room(kind: str, name: str) -> bool:
        limit = limits.get(kind, characters)
        return used[kind] < limit and used[kind, family(name)] < MOST * limit

    for name, path in sorted(files(folders).items(), key=lambda file: _digest(file[0])):
        wanted = [kind for kind in kinds_of(path) if room(kind, name)]
        for text in read(path, name) if wanted else []:
            text = text._replace(text=unseen(text.text, seen)) if text.kind in wanted else text._replace(text="")
            letters = sum(map(str.isalpha, text.text)) + text.text.count(" ")
            if len(text.text) >= SHORTEST and letters >= WORDS[text.kind] * len(text.text):
                used.update({text.kind: len(text.text), (text.kind, family(name)): len(text.text)})
                yield text


def files(folders: list[Path]) -> dict[str, Path]:
    """Files that hold texts, by name: the path within the packages or the folder, so that one found twice counts once."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if kinds_of(path) and path.is_file() and not path.is_symlink():
                parts = path.relative_to(folder.parent).parts
                cut = max((at + 1 for at, part in enumerate(parts) if part.endswith("-packages")), default=0)
                found.setdefault("/".join(parts[cut:]), path)
    return found


def kinds_of(path: Path) -> tuple[str, ...]:
    """Kinds of the texts that a file holds, by its name; none where it is of no use here."""
    if is_manual(path):
        return ("prose",)
    if "changelog" in path.name.lower() or path.name in LISTS:
        return ()
    return SUFFIXES.get(Path(path.stem).suffix if path.suffix == ".gz" else path.suffix, ())


def is_manual(path: Path) -> bool:
    """Whether a file is an English manual page; those of other languages lie a folder deeper."""
    return bool(re.fullmatch(r"man\d", path.parent.name)) and path.parents[1].name == "man"


def family(name: str) -> str:
    """Package or command that a file belongs to, e.g. ``scipy``, or ``git`` for all of its manual pages."""
    parts = name.split("/")
    at = 1 if parts[0].startswith("python") else FAMILY.get(parts[0], 0)
    return re.split(r"[-_.]", parts[min(at, len(parts) - 1)])[0]


def side_of(text: Text) -> str:
    """Whether a text is trained on or tested on, by the last two path components of its file."""
    key = "/".join(text.file.split("/")[-2:])
    return "test" if text.kind == "ood" or int(_digest(key), 16) % TEST_ONE_IN == 0 else "train"


def read(path: Path, name: str) -> list[Text]:
    """Texts of a file: docstrings and code of Python, words of a manual page, or what is there."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    text = raw.decode("utf-8", errors="ignore").replace("\r\n", "\n")
    if path.suffix == ".py":
        return [Text(kind, name, part) for kind, part in zip(SUFFIXES[".py"], parted(text))]
    return [Text(kind, name, without_markup(text) if is_manual(path) else text) for kind in kinds_of(path)]


def unseen(text: str, seen: set[str]) -> str:
    """Paragraphs of a text that are short or not in ``seen``, which gets them."""
    kept = []
    for paragraph in re.split(r"\n\s*\n", text):
        key = _digest("".join(paragraph.split()))
        if len(paragraph) < PARAGRAPH or key not in seen:
            seen.add(key)
            kept.append(paragraph)
    return "\n\n".join(kept).strip("\n")


def parted(source: str) -> tuple[str, str]:
    """Docstrings of a Python file, and the lines that are left; of a file that cannot be parsed, nothing."""
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return "", ""
    lines, docstrings = source.splitlines(), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            docstrings.append(ast.get_docstring(node))
            first, last = node.body[0].lineno, node.body[0].end_lineno or node.body[0].lineno
            lines[first - 1 : last] = [""] * (last - first + 1)
    return "\n\n".join(docstrings), re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def without_markup(page: str) -> str:
    """Words of a manual page: requests of roff that set no words go with their line, and escapes go."""
    text = re.sub(r"^[.'](?!(B|I|R|BR|BI|IB|RB|IR|RI|SH|SS|SM|SB)\b).*\n", "", page, flags=re.MULTILINE)
    text = re.sub(r"^\.S[HS] *\"?(.*?)\"?$", r"\n\1\n", text, flags=re.MULTILINE)
    text = re.sub(r"^\.[A-Z]+\b ?", "", text, flags=re.MULTILINE)
    text = re.sub(r"\\f(\[\w*\]|\(..|.)|\\s[-+]?\d|\\\*?\(..|\\\*?\[\w+\]|\\[&|/,^%c{}]", "", text)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"\\(.)", r"\1", text))


def learn_tokenizer(texts: list[list[Text]], *, vocab: int) -> Tokenizer:
    """Byte-level BPE from equal amounts of each kind."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    sample = (text for kind in texts for text in _first(kind, TOKENIZER_SAMPLE))
    tokenizer.train_from_iterator(sample, trainer)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: list[Text]) -> np.ndarray:
    """Tokens of texts end to end, each after an end token (token)."""
    end = tokenizer.token_to_id(END)
    size = np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.uint32
    pieces = [np.array([end, *tokenizer.encode(text.text).ids], size) for text in texts]
    return np.concatenate([np.zeros(0, size), *pieces])


def _first(texts: Iterable[Text], characters: int) -> Iterator[str]:
    for text in texts:
        if characters <= 0:
            return
        yield text.text[:characters]
        characters -= len(text.text)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


if __name__ == "__main__":
    main()
