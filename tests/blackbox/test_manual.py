"""Group F: documents and man pages match the program."""

import pathlib
import re
import runpy
import textwrap
import types

import pytest

from test_config import run

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENTS = {path.relative_to(ROOT): path.read_text()
             for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "tests/README.md",
                          *sorted((ROOT / "docs").rglob("*.md"))]}
README = DOCUMENTS[pathlib.Path("README.md")]
REFERENCE = DOCUMENTS[pathlib.Path("docs/REFERENCE.md")]
SOURCES = "".join(path.read_text() for path in sorted((ROOT / "src").rglob("*.c")))
COMMAND_PAGE = (ROOT / "deploy/man/dot-proxy.8").read_text()
FILE_PAGE = (ROOT / "deploy/man/dot-proxy.yml.5").read_text()

UPSTREAM = "upstreams: [192.0.2.1#dns.test]\n"
PIN = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


docs = types.SimpleNamespace(**runpy.run_path(str(ROOT / "tests/docs")))


def known_keys():
    """The names of all keys of the schema, as in `listen[].udp'; and their aliases."""
    schema = docs.schema()
    keys = {name for name, _, values, _ in docs.keys(schema) if values is not None}
    return keys, set(docs.aliases(schema))


@pytest.mark.parametrize("path, text", [pytest.param(path, text, id=path.name)
                                        for path, text in docs.documents()])
def test_generated_text_is_up_to_date(path, text):
    assert path.read_text() == text, "make docs"


def section(title):
    """That section of the reference."""
    return re.search(rf"^## {title}\n(.*?)(?:^## |\Z)", REFERENCE, re.M | re.S)[1]


def in_reference():
    """Range and default of each key, in the table of the reference."""
    rows = re.findall(r"^\| `([a-z_.\[\]]+)` \| (.*?) \| (.*?) \|",
                      section("Configuration keys"), re.M)
    return {key: (values, default) for key, values, default in rows}


def in_page():
    """Range and default of each key, in dot-proxy.yml(5)."""
    rows = re.findall(r"^\.It Ic (\S+) Pq (.*) ; (?:default )?(.*)$", FILE_PAGE, re.M)
    return {key: (values.replace(" ,", ","), default) for key, values, default in rows}


KEYS = in_reference()


def test_every_key_is_documented():
    keys, aliases = known_keys()
    assert set(KEYS) == keys
    assert in_page() == KEYS
    assert aliases and all(f"`{a}`" in REFERENCE and f".Ic {a}\n" in FILE_PAGE for a in aliases)


def setting(key, value):
    """A configuration in which the key has that value."""
    outer, _, inner = key.rpartition(".")
    if outer.startswith("routes[]"):
        for name in outer.split(".")[:0:-1]:
            inner, value = name, f"{{{inner}: {value}}}"
        servers = "" if inner == "answer" else "upstreams: 192.0.2.2, "
        text = f"routes: [{{domains: a.test, {servers}{inner}: {value}}}]\n"
    elif outer.endswith("[]"):
        text = f"{outer[:-2]}: [{{address: 192.0.2.1, {inner}: {value}}}]\n"
    elif outer:
        text = f"{outer}: {{{inner}: {value}}}\n"
    else:
        text = f"{key}: {value}\n"
    return text if text.startswith("upstreams:") else text + UPSTREAM


def answer(tmp_path, key, value):
    """The first message of the program about such a configuration."""
    (tmp_path / "config.yml").write_text(setting(key, value))
    done = run(tmp_path, "check")
    return (done.stderr or done.stdout).splitlines()[0]


# These accept any text, or have their own syntax.
FREE = {"path", "host name", "name or number", "address[:port]",
        "up to 1024 names"}
LISTS = {"upstreams", "upstreams[].pins", "listen", "allow"}
LISTS_OF_ROUTES = {"routes", "routes[].domains", "routes[].upstreams"}


@pytest.mark.parametrize("key", sorted(LISTS))
def test_list_lengths_match_the_program(tmp_path, key):
    most = int(KEYS[key][0].split()[-1])
    entries = [f"192.0.2.{n}" for n in range(256)] + ["192.0.3.1"]
    said = answer(tmp_path, key, f"[{', '.join(entries[:most + 1])}]")
    assert f": {most + 1} entries in a list that takes {most}" in said or \
        f": more than {most} ranges" in said


@pytest.mark.parametrize("key", sorted(KEYS.keys() - LISTS - LISTS_OF_ROUTES))
def test_ranges_match_the_program(tmp_path, key):
    # Too long for a time, neither a number nor a size, and none of the words.
    said = re.search(r": expected (?:a (?:number|time|size) from )?(.*), found `60d'$",
                     answer(tmp_path, key, "60d"))
    if said is None:
        assert KEYS[key][0] in FREE
        return
    expected = re.split(r", or | or |, ", said[1])
    assert sorted(re.split(r", or |, ", KEYS[key][0])) == sorted(expected)


def test_defaults_match_the_program(tmp_path, authority):
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
    # Defaults that are not printed, or printed in another form.
    unsaid = {"required", "none", "private", "nobody", "tls.ca_file", "tls.crl_file",
              "the system's bundle"} | set(KEYS)
    documented = {key: default for key, (_, default) in KEYS.items()
                  if default not in unsaid and not key.startswith("listen[]")}
    assert {key: said.get(key) for key in documented} == documented


LITERAL = r'"((?:[^"\\]|\\.)*)"'


def calls(function):
    """The arguments of each call, as text; what is in parentheses stays together."""
    for match in re.finditer(rf"\b{function}\(", SOURCES):
        depth, arguments, begin = 1, [], match.end()
        for token in re.finditer(rf"{LITERAL}|[(),]", SOURCES[match.end():], re.S):
            at = match.end() + token.start()
            if token[0] == "," and depth == 1:
                arguments.append(SOURCES[begin:at])
                begin = at + 1
            depth += {"(": 1, ")": -1}.get(token[0], 0)
            if depth == 0:
                yield [*arguments, SOURCES[begin:at]]
                break


def texts(expression):
    """The string literals that an expression, or the array that it names, may be."""
    found = re.findall(LITERAL, expression)
    array = re.match(r"\s*(\w+)\[", expression)
    if array and not found:
        initializer = re.search(rf"\*(?:const )?{array[1]}\[\w*\] = \{{(.*?)\}};", SOURCES, re.S)
        found = re.findall(LITERAL, initializer[1])
    return found


def logged():
    """Of each call that logs an event: its texts, and the arguments behind it."""
    header = (ROOT / "include/base/log.h").read_text()
    for function, parameters in re.findall(r"\b(log_\w+)\(([^;)]*\bevent\b[^;)]*)\)?", header):
        index = next(n for n, p in enumerate(parameters.split(",")) if re.search(r"\bevent\b", p))
        for arguments in calls(function):
            found = texts(arguments[index])
            if found:
                yield found, arguments[index + 1:]


def events():
    """All events that the program may log, but for those of test hooks."""
    found = set(re.findall(rf'begin_line\(\S+ \w+, {LITERAL}\)', SOURCES))
    return found.union(*(names for names, _ in logged()))


def test_log_events_are_documented():
    documented = set(re.findall(r"^\| (?:error|warn|info|debug) \| `([^`]+)` \|",
                                section("Log events"), re.M))
    assert len(events()) > 20
    assert events() - documented == set(), "not in docs/REFERENCE.md"
    assert documented - events() == set(), "in docs/REFERENCE.md, but not in the source"


def test_log_keys_are_documented():
    documented, source = {}, {}
    for event, keys in re.findall(r"^\| \w+ \| `([^`]+)` \|.*\|(.*)\|$",
                                  section("Log events"), re.M):
        documented[event] = set(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", keys)))
    for names, (fmt, *_) in logged():
        for name in names:
            source.setdefault(name, set()).update(re.findall(r"(\w+)=%", fmt))
    documented["datagrams dropped"] = {"client"} | set(
        re.findall(r"^\| `(\w+)` \|", section("Log events"), re.M))
    assert {name: documented.get(name) for name in source} == source


def test_documented_events_and_keys_exist():
    known = {key.split(".")[-1] for key in KEYS}
    known.update(KEYS, re.findall(r"`(\w+)`", section("Log events")))
    for path, text in DOCUMENTS.items():
        if path.name == "MIGRATING.md":     # it names the keys of other programs
            continue
        assert set(re.findall(r"`((?!test_)[a-z]+_[a-z_]+)`", text)) - known == set(), path
        for cell in re.findall(r"^\| log: (.*?) \|", text, re.M):
            assert set(re.findall(r"`([^`]+)`", cell)) - events() - known == set(), path


def test_readme_log_lines_are_real():
    table = re.search(r"^## When it does not start\n(.*?)^## ", README, re.M | re.S)[1]
    quoted = re.findall(r"^\| (`.*?) \|", table, re.M)
    assert quoted
    for text in re.findall(r"`([^`]+)`", " ".join(quoted)):
        # Without addresses, files, names and texts of libc.
        for piece in re.split(r"0\.0\.0\.0:53|config\.yml|\.\.\.|: [A-Z].*", text):
            assert piece.strip() in SOURCES, text


def test_extended_errors_are_documented():
    """Each code with each text of the source; texts with an upstream in front are its errors."""
    headers = "".join(path.read_text() for path in (ROOT / "include").rglob("*.h"))
    codes = dict(re.findall(r"\b(DNS_EDE_\w+) = (\d+)", headers))
    source = {(codes[name], text)
              for name, text in re.findall(rf"\b(DNS_EDE_\w+),\s*{LITERAL}", SOURCES)}
    source |= {(codes["DNS_EDE_OTHER"], text)
               for text in re.findall(rf"\blocal(?:->|\.)text = {LITERAL}", SOURCES)}
    table = re.findall(r"^\| [A-Z]+ \| (\d+) \| (?:`([^`]+)` )?\|", section("Extended DNS Errors"),
                       re.M)
    documented = {(code, text) for code, text in table
                  if text and not re.match(r"\S+:853 ", text)}
    assert source - documented == set(), "not in docs/REFERENCE.md"
    assert documented - source == set(), "in docs/REFERENCE.md, but not in the source"
    used = {codes[name] for name in re.findall(r"\bDNS_EDE_\w+", SOURCES)
            if name in codes and not name.endswith("_MAX")}
    assert {code for code, _ in table} == used


def configurations(text):
    """The indented blocks of a text that begin with a key of the configuration."""
    first = {key.split(".")[0].removesuffix("[]") for key in KEYS} | known_keys()[1]
    blocks = re.findall(r"^(?:(?:    .*)?\n)+", text, re.M)
    for block in map(textwrap.dedent, blocks):
        if re.split(r"[:\[]", block.strip())[0] in first:
            yield block.strip("\n") + "\n"


def examples():
    literal = "".join(textwrap.indent(block, "    ") + "-\n" for block in re.findall(
        r"^\.Bd -literal.*\n((?:[^.].*\n)*)\.Ed$", FILE_PAGE, re.M))
    for name, text in [*((str(path), text) for path, text in DOCUMENTS.items()), ("man", literal)]:
        found = list(configurations(text))
        assert found or name not in ("README.md", "docs/MIGRATING.md", "man")
        for number, block in enumerate(found, 1):
            yield pytest.param(block, id=f"{name}-{number}")
    for path in (ROOT / "deploy").rglob("config.yml"):
        yield pytest.param(path.read_text(), id=path.parent.name)


@pytest.mark.parametrize("text", examples())
def test_examples_are_valid_configurations(tmp_path, authority, monkeypatch, any_address, text):
    if not re.search("^(upstreams|DNS_SERVERS):", text, re.M):
        text += UPSTREAM
    (tmp_path / "config.yml").write_text(text)
    (tmp_path / "config.yml").chmod(0o644)
    monkeypatch.setenv("SSL_CERT_FILE", authority.path)
    done = any_address(run, tmp_path, "check")
    assert (done.returncode, done.stderr) == (0, "")


def test_command_line_is_documented(tmp_path):
    usage = run(tmp_path, "--help").stdout
    options = set(re.findall(r"(?<![\w-])--?[a-z]+\b", usage))
    commands = set(re.findall(r"^  dot-proxy ([a-z]+)", usage, re.M))
    tags = re.findall(r"^\.It Fl (\S+)", COMMAND_PAGE, re.M)
    assert {f"-{tag}" for tag in tags} == options
    assert set(re.findall(r"^\.It Cm (\w+)", COMMAND_PAGE, re.M)) == commands
    table = "\n".join(re.findall(r"^\| (`[^|]*`) \|", section("Command line"), re.M))
    assert set(re.findall(r"(?<![\w-])-{0,2}[a-z]+\b", table)) == commands | options


def test_health_diagram_matches_the_source():
    header = (ROOT / "include/shared/health.h").read_text()
    architecture = DOCUMENTS[pathlib.Path("docs/ARCHITECTURE.md")]
    diagram = re.search(r"<!-- health diagram -->\n+(.*?)\n+<!-- end -->", architecture, re.S)[1]
    lines = [line.strip() for line in diagram.splitlines()]
    assert "SUSPECT" in diagram
    assert "\n".join(lines) in re.sub(r"^ \*[ \t]*|[ \t]+$", "", header, flags=re.M)


def test_environment_is_documented():
    # Variables of systemd with this suffix only name the process that another one is for.
    variables = {name for name in re.findall(r'getenv\("(\w+)"\)', SOURCES)
                 if not name.endswith("_PID")}
    tags = re.findall(r"^\.It Ev (.*)", COMMAND_PAGE, re.M)
    assert variables
    assert {name for tag in tags for name in tag.split(" , ")} == variables
    assert set(re.findall(r"`([A-Z_]+)`", section("Environment"))) == variables


def test_exit_statuses_are_documented():
    main = (ROOT / "src/command/main.c").read_text()
    enum = re.search(r"Exit statuses.*?enum \{(.*?)\}", main, re.S)[1]
    statuses = set(re.findall(r"= (\d+)", enum))
    assert statuses
    assert set(re.findall(r"^\| (\d+) \|", section("Exit status"), re.M)) == statuses
    page = re.search(r"^\.Sh EXIT STATUS\n(.*?)^\.Sh ", COMMAND_PAGE, re.M | re.S)[1]
    assert set(re.findall(r"^\.It (\d+)$", page, re.M)) == statuses


def anchors(text):
    """The anchors of a document's headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_names_in_documents_exist(path):
    text = DOCUMENTS[path]
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = link.partition("#")
        other = (ROOT / path.parent / name).resolve() if name else ROOT / path
        assert other.exists(), link
        assert not anchor or anchor in anchors(other.read_text()), link
    for name in re.findall(r"\b(?:deploy|src|tests)/[a-z][\w/.-]*\w", text):
        assert (ROOT / name).exists(), name
    for stem in re.findall(r"`((?:base|format|config|shared|query|transport|upstream|frontend"
                           r"|process|command)/[a-z_]+)`", text):
        assert (ROOT / f"src/{stem}.c").exists(), stem
    for name in re.findall(r"`(test_\w+\.py)`", text):
        assert (ROOT / "tests/blackbox" / name).exists(), name
    targets = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.M)
    named = set(re.findall(r"(?:`|^    |sudo )make ([a-z]+)", text, re.M))
    assert named - set(targets) == set()


def test_readme_is_short():
    assert len(README.split()) <= 1500
    for directory in re.findall(r"^\| `([a-z-]+)` \|", README, re.M):
        assert (ROOT / "deploy/kubernetes" / directory / "kustomization.yaml").exists(), directory


def test_test_ids_are_explained():
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    explained = set(re.findall(r"^\| ([A-Z]-\d+) \|",
                               DOCUMENTS[pathlib.Path("tests/README.md")], re.M))
    assert set(re.findall(r'"([CUTDPFXKG]-\d+)', tests)) == explained
