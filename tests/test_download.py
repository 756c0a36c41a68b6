"""data/download.py against a stubborn server on this machine; no other address is asked."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from srlib.downloads import download, transfer
from tests.stubborn_server import StubbornServer

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "data" / "download.py"
BODY = random.Random(7).randbytes(200_000)
REAL = Path(os.environ.get("SRLIB_DATA") or ROOT / "data" / "raw")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(transfer, "TIMEOUT", (5, 5))
    stubborn = StubbornServer()
    yield stubborn
    stubborn.close()


@pytest.fixture
def shelf(server, monkeypatch):
    """Registers files of the server: ``shelf(name, body, habits of address 1, of 2, ...)``.

    Odd addresses go by another name of this machine, so that they count as another host.
    """
    monkeypatch.setattr(download, "REGISTRY", [])
    other = server.url.replace("127.0.0.1", "localhost")

    def register(name, body, *habits, known=None, size=True, **facts):
        paths = [f"/{i}/{name}" for i in range(len(habits))]
        for path, words in zip(paths, habits, strict=True):
            server.files[path] = body
            server.habits[path] = words.split(", ")
        file = download.File(
            name,
            "group",
            tuple((other if i % 2 else server.url) + p for i, p in enumerate(paths)),
            known or "sha256:" + hashlib.sha256(body).hexdigest(),
            len(body) if size else None,
            **facts,
        )
        download.REGISTRY.append(file)
        return file

    return register


@pytest.fixture
def hasty(server, monkeypatch, request):
    """Short time limits, for the habits that would otherwise be waited for."""
    if request.node.callspec.params["habit"].split()[0] in ("silent", "stall", "trickle"):
        monkeypatch.setattr(transfer, "TIMEOUT", (5, 0.6))


def run(*arguments, **environment):
    """The script in its own process: (exit code, stdout, stderr, seconds)."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stdout, done.stderr, time.monotonic() - start


def leftovers(folder):
    return sorted(p.name for p in folder.rglob("*") if p.name != ".download.lock")


def test_a_file_is_fetched_once_and_then_kept(shelf, server, tmp_path):
    shelf("a.tif", BODY, "ok")
    assert download.fetch("a.tif", tmp_path) == [tmp_path / "a.tif"]
    assert (tmp_path / "a.tif").read_bytes() == BODY
    download.fetch("group", tmp_path)
    assert server.seen == ["/0/a.tif"]
    assert leftovers(tmp_path) == ["a.tif"]


@pytest.mark.parametrize(
    "habit",
    [
        "404",
        "500",
        "wrong",
        "short",
        "silent",
        "stall 0",
        "endless",
        "trickle",
        "drop 0",
        "to /loop",
        "to http://127.0.0.1:1/x",
    ],
)
def test_a_bad_address_is_left_for_the_next(shelf, server, hasty, tmp_path, habit):
    server.habits["/loop"] = ["to /loop"]
    shelf("a.tif", BODY, habit, "ok")
    start = time.monotonic()
    download.fetch("a.tif", tmp_path)
    assert (tmp_path / "a.tif").read_bytes() == BODY
    assert leftovers(tmp_path) == ["a.tif"]
    assert "/0/a.tif" in server.seen and time.monotonic() - start < 5


def test_a_redirect_is_followed(shelf, server, tmp_path):
    shelf("a.tif", BODY, "to /there")
    server.files["/there"] = BODY
    download.fetch("a.tif", tmp_path)
    assert server.seen == ["/0/a.tif", "/there"]
    assert (tmp_path / "a.tif").read_bytes() == BODY


@pytest.mark.parametrize("habit", ["drop 65536", "stall 65536"])
def test_a_cut_is_tried_again(shelf, server, hasty, tmp_path, habit):
    shelf("a.tif", BODY, f"{habit}, {habit}, ok")
    download.fetch("a.tif", tmp_path)
    assert (tmp_path / "a.tif").read_bytes() == BODY
    assert server.seen == 3 * ["/0/a.tif"]


def test_an_address_that_always_breaks_off_is_left(shelf, server, tmp_path):
    shelf("a.tif", BODY, "drop 65536", "ok")
    download.fetch("a.tif", tmp_path)
    assert server.seen == transfer.ATTEMPTS * ["/0/a.tif"] + ["/1/a.tif"]
    assert (tmp_path / "a.tif").read_bytes() == BODY


def test_a_killed_download_starts_anew(shelf, server, tmp_path):
    file = shelf("a.tif", BODY, "stall 65536, ok")
    code = (
        f"from srlib.downloads import download; download.REGISTRY = [download.{file!r}]; "
        f"download.fetch('a.tif', {str(tmp_path)!r})"
    )
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    part, end = tmp_path / "a.tif.part", time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < end:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert leftovers(tmp_path) == ["a.tif.part"]
    download.fetch("a.tif", tmp_path)
    assert (tmp_path / "a.tif").read_bytes() == BODY and leftovers(tmp_path) == ["a.tif"]


def test_every_address_bad_names_each_reason_and_leaves_nothing(shelf, tmp_path, capsys):
    shelf("a.tif", BODY, "404", "wrong", "endless")
    shelf("b.tif", BODY, "ok")
    assert download.main(["group", "--dest", str(tmp_path)]) == 1
    words = capsys.readouterr().err
    for reason in ("404", "wrong hash", "more than the 200000 bytes"):
        assert reason in words
    assert words.count("\n") == 1 and "Traceback" not in words
    assert leftovers(tmp_path) == ["b.tif"]


@pytest.mark.parametrize("habit", ["silent", "stall 0", "trickle"])
def test_a_host_that_stalls_is_not_asked_for_the_next_file(shelf, server, hasty, tmp_path, habit):
    for name in "abc":
        shelf(name, BODY, habit)
    with pytest.raises(download.DownloadError, match="No network, so a, b, c"):
        download.fetch("group", tmp_path)
    assert len(server.seen) == 1


def test_a_wrong_file_is_replaced_and_kept_aside(shelf, tmp_path, capsys):
    shelf("a.tif", BODY, "ok")
    (tmp_path / "a.tif").write_bytes(b"mine")
    download.fetch("a.tif", tmp_path)
    assert (tmp_path / "a.tif").read_bytes() == BODY
    assert (tmp_path / "a.tif.wrong").read_bytes() == b"mine"
    assert "a.tif has a wrong hash" in capsys.readouterr().err


def test_a_wrong_file_stays_until_the_right_one_is_there(shelf, tmp_path):
    shelf("a.tif", BODY, "404")
    (tmp_path / "a.tif").write_bytes(b"mine")
    with pytest.raises(download.DownloadError):
        download.fetch("a.tif", tmp_path)
    assert leftovers(tmp_path) == ["a.tif"] and (tmp_path / "a.tif").read_bytes() == b"mine"


def test_mirrors_come_first_and_are_checked(shelf, server, tmp_path):
    shelf("a #1.tif", BODY, "ok")
    server.files["/files/a%20%231.tif"] = BODY
    bad, good, dest = tmp_path / "bad", tmp_path / "good", tmp_path / "dest"
    for folder, body in ((bad, b"other"), (good, BODY)):
        folder.mkdir()
        (folder / "a #1.tif").write_bytes(body)
    download.fetch("group", dest, [bad, good])
    assert (dest / "a #1.tif").read_bytes() == BODY and server.seen == []
    (dest / "a #1.tif").unlink()
    download.fetch("group", dest, [bad, server.url + "/files/"])
    assert (dest / "a #1.tif").read_bytes() == BODY
    assert server.seen == ["/files/a%20%231.tif"]


def test_a_git_blob_hash_is_checked(shelf, tmp_path):
    git = hashlib.sha1(b"blob 200000\0" + BODY).hexdigest()
    shelf("a.tif", BODY, "wrong", "ok", known=f"gitblob:{git}", size=False)
    download.fetch("a.tif", tmp_path)
    assert (tmp_path / "a.tif").read_bytes() == BODY
    (tmp_path / "hello").write_bytes(b"hello\n")
    assert transfer.matches(tmp_path / "hello", "gitblob:ce013625030ba8dba906f756967f9e9ca394464a")


def test_a_bar_is_shown_on_a_terminal(shelf, tmp_path, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    shelf("a.tif", BODY, "ok")
    download.fetch("a.tif", tmp_path)
    assert "a.tif: 100%" in terminal.getvalue() and "200k/200k" in terminal.getvalue()


def test_a_full_disk_is_one_sentence(shelf, tmp_path, capsys):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full to stand for a full disk")
    shelf("a.tif", BODY, "ok")
    (tmp_path / "a.tif.part").symlink_to("/dev/full")
    assert download.main(["a.tif", "--dest", str(tmp_path)]) == 1
    words = capsys.readouterr().err
    assert "No space left on device" in words and words.count("\n") == 1
    assert not (tmp_path / "a.tif").exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    code, _, words, _ = run("case3", "--dest", tmp_path / "file" / "x")
    assert code == 1 and words.count("\n") == 1 and "--dest" in words


def test_a_second_download_into_the_folder_is_refused(shelf, tmp_path):
    shelf("a.tif", BODY, "ok")
    shelf("b.tif", BODY, "ok")
    with transfer.Transfer(tmp_path) as other:
        other.hold()
        with pytest.raises(download.DownloadError) as refusal:
            download.fetch("group", tmp_path)
    assert str(refusal.value).count("Another download") == 1
    assert leftovers(tmp_path) == []
    download.fetch("group", tmp_path)


def test_without_a_network_one_sentence_in_five_seconds(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{free.getsockname()[1]}"
    for group in ("case3", "zenodo"):
        code, out, words, seconds = run(
            group,
            "--dest",
            tmp_path,
            HTTPS_PROXY=proxy,
            https_proxy=proxy,
            NO_PROXY="",
            no_proxy="",
        )
        assert code == 1 and out == "" and words.startswith("No network") and seconds < 5
        assert words.count("\n") == 1
    assert leftovers(tmp_path) == []


def test_a_proxy_is_used_where_nothing_else_is_reached(shelf, server, tmp_path, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, server.url)
    file = shelf("a.tif", BODY)
    address = "http://files.invalid/a.tif"
    server.files[address] = BODY
    download.REGISTRY[:] = [replace(file, addresses=(address,))]
    download.fetch("a.tif", tmp_path)
    assert server.seen == [address]


def test_a_name_service_that_hangs_is_not_waited_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NO_PROXY", "*")

    def hang(*_, **__):
        time.sleep(8)
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    start = time.monotonic()
    assert download.main(["case3", "--dest", str(tmp_path)]) == 1
    assert time.monotonic() - start < 4
    assert capsys.readouterr().err.startswith("No network")


def test_bad_names_and_mirrors_are_told(tmp_path):
    with pytest.raises(ValueError, match="'case9' is neither a file nor a group"):
        download.fetch("case9", tmp_path)
    for mirror in (tmp_path / "nowhere", "ftp://example.org/files"):
        with pytest.raises(ValueError, match="neither a folder nor a web address"):
            download.fetch("case3", tmp_path, [mirror])
    assert run("case9")[0] == 1
    code, _, words, _ = run()
    assert code == 2 and "--all or --list" in words


def pack(path, entries, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as packed:
        for name, content in entries:
            packed.writestr(name, content)
    return path


def special(name, mode):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


HOSTILE = {
    "parent": [("good.txt", "x"), ("../evil.txt", "x")],
    "deep parent": [("good.txt", "x"), ("a/../../evil.txt", "x")],
    "absolute": [("good.txt", "x"), ("/evil.txt", "x")],
    "drive": [("good.txt", "x"), ("C:/evil.txt", "x")],
    "backslash": [("good.txt", "x"), ("..\\evil.txt", "x")],
    "link": [("good.txt", "x"), (special("evil", stat.S_IFLNK | 0o777), "/etc/passwd")],
    "pipe": [("good.txt", "x"), (special("evil", stat.S_IFIFO | 0o666), "")],
    "bomb": [("good.txt", "x"), ("big.bin", bytes(2_000_000))],
    "bomb in parts": [(f"{i}.bin", bytes(300_000)) for i in range(4)],
    "many": [(f"{i}.txt", "") for i in range(9)],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused_whole(tmp_path, kind):
    folder = tmp_path / "folder"
    folder.mkdir()
    packed = pack(folder / "a.zip", HOSTILE[kind])
    with pytest.raises(download.DownloadError, match=r"a\.zip is not unpacked: "):
        download.unpack(packed, folder, max_bytes=1_000_000, max_files=8)
    assert leftovers(tmp_path) == ["a.zip", "folder"]


def test_other_bad_archives_are_refused(tmp_path):
    packed = pack(tmp_path / "a.zip", [("good.txt", "x"), ("b.txt", BODY)], zipfile.ZIP_STORED)
    content = bytearray(packed.read_bytes())
    content[5000] ^= 1
    lying = pack(tmp_path / "lying.zip", [("big.bin", bytes(2_000_000))]).read_bytes()
    lying = lying.replace((2_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    bodies = {
        "flipped.zip": bytes(content),
        "cut.zip": bytes(content[:-30]),
        "lying.zip": lying,
        "text.zip": b"not a zip",
    }
    for name, body in bodies.items():
        (tmp_path / name).write_bytes(body)
        with pytest.raises(download.DownloadError, match="cannot be unpacked"):
            download.unpack(tmp_path / name, tmp_path, max_bytes=1_000_000)
    lzma = pack(tmp_path / "lzma.zip", [("a.bin", bytes(100))], zipfile.ZIP_LZMA)
    with pytest.raises(download.DownloadError, match="unusual"):
        download.unpack(lzma, tmp_path)
    assert leftovers(tmp_path) == sorted([*bodies, "a.zip", "lzma.zip"])


def test_an_archive_does_not_write_through_a_link(tmp_path):
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "sub").symlink_to(outside)
    with pytest.raises(download.DownloadError, match="link"):
        download.unpack(pack(tmp_path / "a.zip", [("sub/a.txt", "x")]), folder)
    assert leftovers(outside) == []


def test_an_archive_is_unpacked_checked_and_unpacked_again_if_lost(shelf, server, tmp_path):
    packed = pack(tmp_path / "a.zip", [("a.txt", "hello"), ("sub/b.txt", "there")]).read_bytes()
    inside = [("a.txt", "hello"), ("sub/b.txt", "there")]
    members = tuple((n, "sha256:" + hashlib.sha256(c.encode()).hexdigest()) for n, c in inside)
    shelf("a.zip", packed, "ok", members=members)
    dest = tmp_path / "dest"
    paths = download.fetch("a.zip", dest)
    assert paths == [dest / "a.zip", dest / "a.txt", dest / "sub/b.txt"]
    assert [p.read_text() for p in paths[1:]] == ["hello", "there"]
    (dest / "sub/b.txt").write_text("changed")
    download.fetch("a.zip", dest)
    assert (dest / "sub/b.txt").read_text() == "there"
    assert len(server.seen) == 1
    assert leftovers(dest) == ["a.txt", "a.zip", "b.txt", "sub"]
    shelf("b.zip", packed, "ok", members=(("c.txt", members[0][1]),))
    with pytest.raises(download.DownloadError, match=r"does not hold the c\.txt"):
        download.fetch("b.zip", dest)


@pytest.fixture
def zenodo(server, monkeypatch):
    monkeypatch.setattr(download, "ZENODO", server.url)
    record = f"/api/records/{download.RECORD}"

    def publish(**bodies):
        entries = []
        for name, body in bodies.items():
            server.files[f"{record}/files/{name}/content"] = body
            md5 = hashlib.md5(body).hexdigest()
            entries.append({"key": name, "size": len(body), "checksum": f"md5:{md5}"})
        server.files[record] = json.dumps({"files": entries}).encode()

    return publish


def test_the_zenodo_record_is_believed_once_and_written_down(zenodo, server, tmp_path):
    zenodo(volume=BODY, notes=b"read me")
    folder = tmp_path / f"zenodo_{download.RECORD}"
    assert download.fetch("zenodo/notes", tmp_path) == [folder / "notes"]
    assert download.fetch("zenodo", tmp_path) == [folder / "volume", folder / "notes"]
    record = json.loads((folder / "record.json").read_text())
    assert record["volume"]["sha256"] == "sha256:" + hashlib.sha256(BODY).hexdigest()
    asked = len(server.seen)
    assert asked == 3
    download.fetch("zenodo", tmp_path)
    assert len(server.seen) == asked
    zenodo(volume=BODY[::-1])
    (folder / "volume").unlink()
    with pytest.raises(download.DownloadError, match="volume could not be fetched.*wrong hash"):
        download.fetch("zenodo", tmp_path)
    with pytest.raises(ValueError, match="has no file 'none'"):
        download.fetch("zenodo/none", tmp_path)


def test_a_strange_zenodo_answer_is_refused(zenodo, server, tmp_path):
    record = f"/api/records/{download.RECORD}"
    for answer in (b"<html>", b"[]", b'{"files": [{"key": "a"}]}'):
        server.files[record] = answer
        with pytest.raises(download.DownloadError, match="does not tell"):
            download.fetch("zenodo", tmp_path)
    zenodo(**{"../evil": b"x"})
    with pytest.raises(download.DownloadError, match="outside"):
        download.fetch("zenodo", tmp_path)
    folder = tmp_path / f"zenodo_{download.RECORD}"
    folder.mkdir(exist_ok=True)
    (folder / "record.json").write_text('{"half": ')
    with pytest.raises(download.DownloadError, match="damaged"):
        download.fetch("zenodo", tmp_path)


def test_the_registry_is_complete():
    groups = {"case1": 7, "case2": 3, "case3": 2, "case4": 2, "rock": 1, "grey": 3, "edsr": 60}
    assert {g: len(download._select(g)) for g in groups} == groups
    assert len({f.name for f in download.REGISTRY}) == len(download.REGISTRY) == 78
    for file in download.REGISTRY:
        kind, _, digest = file.hash.partition(":")
        assert len(digest) == {"sha256": 64, "gitblob": 40}[kind] and int(digest, 16)
        assert file.bytes or kind == "gitblob"
        assert file.licence == ("CSIRO" if file.group == "edsr" else "MIT") and file.content
        assert len({a.split("/")[2] for a in file.addresses}) == 3
        assert all(
            a.startswith("https://")
            and a.endswith("/" + file.name.removeprefix("edsr/").removeprefix("real/"))
            and " " not in a
            for a in file.addresses
        )


@pytest.mark.real
@pytest.mark.parametrize("file", download.REGISTRY, ids=lambda file: file.name)
def test_the_registry_agrees_with_the_real_files(file):
    path = REAL / file.name
    if not path.is_file():
        pytest.skip(f"{file.name} is not in {REAL}: fetch it with data/download.py {file.name}")
    assert path.stat().st_size == (file.bytes or path.stat().st_size)
    assert transfer.matches(path, file.hash)


@pytest.mark.real
def test_the_real_archive_unpacks(tmp_path):
    if not (REAL / "berea.zip").is_file():
        pytest.skip(f"berea.zip is not in {REAL}: fetch it with data/download.py rock")
    paths = download.fetch("rock", tmp_path, [REAL])
    assert [p.name for p in paths] == ["berea.zip", "berea.tif"]
    assert paths[1].stat().st_size == 64050455


def test_a_file_of_a_folder_lands_where_the_book_looks_for_it(shelf, server, tmp_path):
    shelf("set/part/1.tif", BODY, "ok")
    assert download.fetch("group", tmp_path) == [tmp_path / "set" / "part" / "1.tif"]
    assert leftovers(tmp_path) == ["1.tif", "part", "set"]
    again = tmp_path / "again"
    assert download.fetch("group", again, [tmp_path])[0].read_bytes() == BODY, "from a mirror"


def test_the_list_shows_every_file_and_what_is_here(tmp_path):
    (tmp_path / "SOFC_lr_input.tif").write_bytes(b"not it")
    code, out, words, _ = run("--list", "--dest", tmp_path)
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line[0] != " "}
    assert code == 0 and words == "" and len(rows) == 21
    assert rows["SOFC_lr_input.tif"] == [
        "SOFC_lr_input.tif",
        "case3",
        "249458",
        "-",
        "MIT",
        "wrong",
        "hash",
    ]
    assert rows["SEM_lr_input.tif"] == [
        "SEM_lr_input.tif",
        "case4",
        "2118490",
        "400",
        "nm",
        "MIT",
        "no",
    ]
    for file in download.REGISTRY:
        assert file.content in out and (file.group == "edsr" or file.addresses[0] in out)
    assert "edsr/TRAIN/LR/1.tif" in rows and "and 59 more" in out


def test_the_script_needs_neither_torch_nor_an_installed_library():
    code = (
        f"import sys, runpy; sys.path.insert(0, {str(SCRIPT.parent)!r}); "
        f"runpy.run_path({str(SCRIPT)!r}); "
        "print([m for m in ('torch', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.stdout.strip() == "[]", done.stderr
