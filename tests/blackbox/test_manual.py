"""Group F: what the README and the man pages say is what the program does."""

import pathlib
import re
import textwrap

import pytest

from test_config import run

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMAND_PAGE = (ROOT / "deploy/man/dot-proxy.8").read_text()
FILE_PAGE = (ROOT / "deploy/man/dot-proxy.yml.5").read_text()

UPSTREAM = "upstreams: [192.0.2.1#dns.test]\n"
PIN = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def known_keys():
    """The names of all keys in the tables of the schema, as in `listen[].udp'; and their aliases."""
    source = (ROOT / "src/config/config_schema.c").read_text()
    functions = dict(re.findall(r"^(\w+)\((.*?)^}$", source, re.M | re.S))
    keys, aliases = set(), set()

    def walk(function, prefix):
        body = functions[function]
        rows = re.findall(r'\{ "(\w+)", (?:NULL|"(\w+)"), (\w+),', body)
        if "tree_list(" in body:
            prefix = prefix.removesuffix(".") + "[]."
        for key, alias, loader in rows:
            found = len(keys)
            if loader in functions:
                walk(loader, f"{prefix}{key}.")
            # A map is no more than the keys in it; a list can be written in short as well.
            if len(keys) == found or "tree_list(" in functions[loader]:
                keys.add(prefix + key)
            aliases.update({alias} - {""})
        if not rows:
            for called in set(re.findall(r"\b(?:load|read)_\w+", body)) & set(functions):
                walk(called, prefix)

    walk("config_fill", "")
    return keys, aliases


def section(title):
    """That section of the README."""
    return re.search(rf"^## {title}\n(.*?)^## ", README, re.M | re.S)[1]


def in_readme():
    """Range and default of each key, in the table of the README."""
    rows = re.findall(r"^\| `([a-z_.\[\]]+)` \| (.*?) \| (.*?) \|", section("Configuration"), re.M)
    return {key: (values.replace("`", ""), default.replace("`", ""))
            for key, values, default in rows}


def in_page():
    """The same, in dot-proxy.yml(5)."""
    rows = re.findall(r"^\.It Ic (\S+) Pq (.*) ; (?:default )?(.*)$", FILE_PAGE, re.M)
    return {key: (values.replace(" ,", ","), default) for key, values, default in rows}


KEYS = in_readme()


def test_every_key_is_documented():
    keys, aliases = known_keys()
    assert set(KEYS) == keys
    assert in_page() == KEYS
    assert aliases and all(f"`{a}`" in README and f".Ic {a}\n" in FILE_PAGE for a in aliases)


def setting(key, value):
    """A configuration in which the key has that value."""
    outer, _, inner = key.rpartition(".")
    if outer.endswith("[]"):
        text = f"{outer[:-2]}: [{{address: 192.0.2.1, {inner}: {value}}}]\n"
    elif outer:
        text = f"{outer}: {{{inner}: {value}}}\n"
    else:
        text = f"{key}: {value}\n"
    return text if text.startswith("upstreams:") else text + UPSTREAM


def answer(tmp_path, key, value):
    """The first thing that the program says about such a configuration."""
    (tmp_path / "config.yml").write_text(setting(key, value))
    done = run(tmp_path, "check")
    return (done.stderr or done.stdout).splitlines()[0]


# These take any text, or their own kind of it.
FREE = {"path", "host name", "name or number", "address[:port]"}
LISTS = {"upstreams", "upstreams[].pins", "listen", "allow"}


@pytest.mark.parametrize("key", sorted(LISTS))
def test_the_length_of_a_list_is_what_the_program_takes(tmp_path, key):
    most = int(KEYS[key][0].split()[-1])
    entries = [f"192.0.2.{n}" for n in range(256)] + ["192.0.3.1"]
    said = answer(tmp_path, key, f"[{', '.join(entries[:most + 1])}]")
    assert f": {most + 1} entries in a list that takes {most}" in said or \
        f": more than {most} ranges" in said


@pytest.mark.parametrize("key", sorted(KEYS.keys() - LISTS))
def test_the_range_is_what_the_program_takes(tmp_path, key):
    # Too long for a time, no number, and none of the words.
    said = re.search(r": expected (?:a number from |a time from )?(.*), found `60m'$",
                     answer(tmp_path, key, "60m"))
    if said is None:
        assert KEYS[key][0] in FREE
        return
    expected = re.split(r", or | or |, ", said[1])
    if "or never" in answer(tmp_path, key, "[1, 2]"):
        expected.append("never")
    assert sorted(re.split(r", or |, ", KEYS[key][0])) == sorted(expected)


def test_the_defaults_are_those_of_the_program(tmp_path, authority):
    (tmp_path / "config.yml").write_text(
        f"upstreams: [{{address: 192.0.2.1, pins: {PIN}}}]\ntls: {{ca_file: {authority.path}}}\n")
    said = {}
    for line in run(tmp_path, "check").stdout.splitlines():
        indent, key, value = re.fullmatch(r"( *(?:- )?)(?:(\w+): ?)?(.*)", line).groups()
        if not indent:
            outer = key
        elif key:
            key = f"{outer}[].{key}" if outer == "upstreams" else f"{outer}.{key}"
        else:
            key = outer                 # the entries of a list
        said.setdefault(key, value.strip('"'))
        said[key] = said[key] or value.strip('"')
    # What is not printed where nothing is set, or in other words.
    unsaid = {"required", "none", "private", "nobody", "tls.ca_file", "tls.crl_file",
              "the system's bundle"}
    documented = {key: default for key, (_, default) in KEYS.items()
                  if default not in unsaid and not key.startswith("listen[]")}
    assert {key: said.get(key) for key in documented} == documented


def test_every_event_of_the_log_is_documented():
    sources = "".join(path.read_text() for path in (ROOT / "src").rglob("*.c"))
    events = set(re.findall(r'log_event\(\s*[^,"]+,\s*"([^"]+)"', sources))
    assert events and {e for e in events if f"`{e}`" not in section("What the log says")} == set()


def configurations(text):
    """The indented blocks of a text that begin with a key of the configuration."""
    first = {key.split(".")[0].removesuffix("[]") for key in KEYS}
    blocks = re.findall(r"^(?:(?:    .*)?\n)+", text, re.M)
    for block in map(textwrap.dedent, blocks):
        if re.split(r"[:\[]", block.strip())[0] in first:
            yield block.strip("\n") + "\n"


def examples():
    literal = "".join(textwrap.indent(block, "    ") + "-\n" for block in re.findall(
        r"^\.Bd -literal.*\n((?:[^.].*\n)*)\.Ed$", FILE_PAGE, re.M))
    for name, text in (("README", README), ("man", literal)):
        found = list(configurations(text))
        assert len(found) >= 2
        for number, block in enumerate(found, 1):
            yield pytest.param(block, id=f"{name}-{number}")
    for path in (ROOT / "deploy").rglob("config.yml"):
        yield pytest.param(path.read_text(), id=path.parent.name)


@pytest.mark.parametrize("text", examples())
def test_the_examples_are_good(tmp_path, authority, monkeypatch, any_address, text):
    if not re.search("^upstreams:", text, re.M):
        text += UPSTREAM
    (tmp_path / "config.yml").write_text(text)
    (tmp_path / "config.yml").chmod(0o644)
    monkeypatch.setenv("SSL_CERT_FILE", authority.path)
    done = any_address(run, tmp_path, "check")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_line_is_documented(tmp_path):
    usage = run(tmp_path, "--help").stdout
    options = set(re.findall(r"(?<![\w-])--?[a-z]+\b", usage))
    commands = set(re.findall(r"^  dot-proxy ([a-z]+)", usage, re.M))
    tags = re.findall(r"^\.It Fl (\S+)", COMMAND_PAGE, re.M)
    assert {f"-{tag}" for tag in tags} == options
    assert set(re.findall(r"^\.It Cm (\w+)", COMMAND_PAGE, re.M)) == commands
    table = "\n".join(re.findall(r"^\| (`[^|]*`) \|", section("Command line"), re.M))
    assert set(re.findall(r"(?<![\w-])-{0,2}[a-z]+\b", table)) == commands | options


def test_the_environment_is_documented():
    sources = "".join(path.read_text() for path in (ROOT / "src").rglob("*.c"))
    # Each of systemd's variables that ends so only says for whom another one is.
    variables = {name for name in re.findall(r'getenv\("(\w+)"\)', sources)
                 if not name.endswith("_PID")}
    tags = re.findall(r"^\.It Ev (.*)", COMMAND_PAGE, re.M)
    assert {name for tag in tags for name in tag.split(" , ")} == variables


def test_what_the_readme_names_is_there():
    for path in re.findall(r"\b(?:deploy|src|tests)/[a-z][\w/.-]*\w", README):
        assert (ROOT / path).exists(), path
    for directory in re.findall(r"^\| `([a-z-]+)` \|", section("Quick start"), re.M):
        assert (ROOT / "deploy/kubernetes" / directory / "kustomization.yaml").exists(), directory
    targets = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.M)
    named = set(re.findall(r"(?:`|^    |sudo )make ([a-z]+)", README, re.M))
    assert named and named - set(targets) == set()
