"""File names in a message: where the text names one, and what is kept of it.

Which file it was varies; what kind of file it was decides who has to mend it, so a known ending is kept, or the family of files that
one job takes for another.
"""

from __future__ import annotations

import re

_DATA = (
    "csv", "tsv", "txt", "dat", "log", "json", "jsonl", "ndjson", "parquet", "feather", "arrow", "orc", "avro", "xlsx", "xls", "xml", "md", "html",
    "npy", "npz", "h5", "hdf5", "pkl", "bin", "bam", "vcf", "fasta", "fastq", "pcap", "png", "jpg", "jpeg", "gif", "svg", "bmp", "tiff", "tif",
    "webp", "pdf", "mp4", "mkv", "mov", "avi", "webm", "mp3", "wav", "flac", "ogg", "zip", "gz", "bz2", "xz", "zst", "lz4", "7z", "tar", "tgz",
)  # fmt: skip
_CONFIG = ("yaml", "yml", "toml", "ini", "cfg", "conf")
_KINDS = (
    "dot", "gv", "py", "ipynb", "js", "mjs", "ts", "tsx", "jsx", "rb", "pl", "php", "go", "rs", "c", "h", "cc", "cpp", "hpp", "java", "kt", "jar",
    "class", "sh", "bash", "sql", "db", "sqlite", "whl", "pem", "crt", "key", "tmp", "lock", "pid", "sock", "so", "o", "a", "env", "tf", "hcl",
    "lua", "r", "R", "hs", "ml", "ex", "exs", "erl", "pt", "pth", "proto", "y", "l", "deb", "rpm", "gem", "apk", "iso", "p12", "pfx", "jks", "rej",
    "orig", "patch", "diff", "bak", "po", "mo", "m4", "ll", "onnx", "ckpt", "safetensors",
)  # fmt: skip
_FAMILIES = {e: e for e in _KINDS} | dict.fromkeys(_DATA, "data") | dict.fromkeys(_CONFIG, "config")
"""What stands for each known ending."""
_ARITY = re.compile(r"^[\w.:]+/\d{1,2}$")
_ENDED = re.compile(r"\w\.[A-Za-z][A-Za-z0-9]{0,5}$")
_OPENING = re.compile(r"\b(?:file|open|opening|read|reading|write|writing|create|creating|stat|access) $")
PATH = re.compile(
    r"(?<![\w<>/.])(?:~|\.{1,2}|[A-Za-z]:)?(?:/(?:[\w.@%+=,~{}-]|<t>|<id>|<hex>){1,200}){1,30}/?(?::\d+(?::\d+)?)?"
    r"|(?<![\w<>/.])[\w.@%+=,~-]{1,120}(?:/(?:[\w.@%+=,~-]|<t>|<id>|<hex>){1,120}){1,30}/?(?::\d+(?::\d+)?)?"
    r"|(?<![\w<>/.])[\w@%+=,~-]{1,120}(?:\.[\w-]{1,40}){0,3}\.(?:[a-z][a-z0-9]{0,6}|[chyR])(?![\w(]|\.[A-Z]\w{0,60}?[a-z]|\.[a-z]\w{0,40}[.(])(?::\d+(?::\d+)?)?"
)


def is_path(word: str) -> bool:
    """Whether a quoted word is a file's name."""
    return "/" in word or extension(word) != ""


def extension(word: str) -> str:
    """The family of a file's known ending, with a dot before it; empty where there is none."""
    stem, dot, end = word.rpartition(".")
    family = _FAMILIES.get(end.lower())
    return f".{family}" if dot and stem and family else ""


def path_word(word: str) -> str:
    """What stands for a path: its kind of file, or the name of a header."""
    if word.endswith((".h", ".hpp", ".hh")):
        return word.rsplit("/", 1)[-1]  # a header's name is a package's
    return f"<path>{extension(word) or ('.data' if _ENDED.search(word) else '')}"


def path_at(m: re.Match[str]) -> str:
    """A path by what stands before it, where its ending does not tell."""
    word = m.group(0)
    if _ENDED.search(word.rstrip(".,:")) and _OPENING.search(m.string[max(0, m.start() - 12) : m.start()]):
        tail = word[len(word.rstrip(".,:")) :]
        return path_word(word[: len(word) - len(tail)]) + tail
    return _path(word)


def _path(word: str) -> str:
    """Mask a path that stands bare in the text; leave words that only look like one."""
    if word.startswith("HTTP/") or _ARITY.search(word):
        return word
    if word[-1] in ",:=" or (word[-1] == "." and word.strip("./")):
        return (_path(word[:-1]) if len(word) > 1 else "") + word[-1]
    clean = word.rstrip(":0123456789") if ":" in word else word
    if "/" not in clean:
        return path_word(clean) if extension(clean) else word
    looks = clean[0] in "/~." or clean.count("/") > 1 or extension(clean) or any(c.isdigit() for c in clean)
    return path_word(clean) if looks else word
