"""Group F: the JSON Schema that `dot-proxy schema' prints, as an editor uses it."""

import json
import pathlib
import re

import jsonschema
import pytest
import yaml

from rows import table
from test_config import run
from test_manual import UPSTREAM, PIN, examples

ROOT = pathlib.Path(__file__).parents[2]


class Loader(yaml.SafeLoader):
    """YAML 1.2, as editors read it: `off' and `yes' are texts."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers
            if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:int",
                           "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:float")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()}
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))
Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^-?[0-9]+$"),
                             list("-0123456789"))


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    done = run(tmp_path_factory.mktemp("schema"), "schema")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def errors(schema, text):
    validator = jsonschema.Draft202012Validator(schema)
    return list(validator.iter_errors(yaml.load(text, Loader)))


def test_schema_is_valid(schema):
    assert schema["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]
    jsonschema.Draft202012Validator.check_schema(schema)


def test_every_key_has_a_description_and_every_default_is_valid(schema):
    def properties(node):
        if isinstance(node, dict):
            yield from node.get("properties", {}).values()
            for inner in node.values():
                yield from properties(inner)
        elif isinstance(node, list):
            for inner in node:
                yield from properties(inner)

    found = list(properties(schema))
    assert len(found) > 40
    for value in found:
        assert "description" in value or value["$ref"].startswith("#/properties/")
        if "default" in value:
            jsonschema.Draft202012Validator(value).validate(value["default"])


@pytest.mark.parametrize("text", examples())
def test_examples_are_valid(schema, text):
    if not re.search("^upstreams:", text, re.M):
        text += UPSTREAM
    assert errors(schema, text) == []


def test_shipped_file_is_valid_with_and_without_its_comments(schema):
    text = (ROOT / "config.yml").read_text()
    assert errors(schema, text) == []
    without = re.sub(r"^((?:    )?)# (?=(?:  )?[a-z_]+:)", r"\1", text, flags=re.M)
    without = without.replace("[47DEQpj8...]", f"['{PIN}']")
    keys = yaml.load(without, Loader)
    assert errors(schema, without) == []
    assert set(keys) == set(schema["properties"]) - {"DNS_SERVERS", "SOCKET_ADDRESS"}
    assert len(keys["upstreams"][0]) == 8 and len(keys["timeouts"]) == 7


@table("text",
       ("F-02-minimal", "upstreams: 9.9.9.9\n"),
       ("F-13-IPv6", "upstreams: ['2001:db8::1', '[2001:db8::1]:853#a.test', 'fe80::1%eth0']\n"),
       ("F-13-listen", UPSTREAM + "listen: ['[::]:53', '[fe80::1%eth0]:53', {address: '::1'}]\n"),
       ("F-02-predecessor", "DNS_SERVERS: [1.1.1.1, 8.8.8.8]\nSOCKET_ADDRESS: 0.0.0.0:5353\n"),
       ("F-02-empty-map", UPSTREAM + "tls:\nlog: {}\n"),
       ("F-08-words", UPSTREAM + "fallback: {after: never}\ntimeouts: {client_idle: 0}\n"),
       ("F-08-days", UPSTREAM + "cache: {max_ttl: 2d, min_ttl: 0, stale: 36h, stale_after: 0}\n"),
       ("F-21-off", UPSTREAM + "cache: {size: 0}\n"),
       ("F-21-size", UPSTREAM + "cache: {size: 512KiB, prefetch: false}\n"),
       ("F-02-off", UPSTREAM + "sandbox: off\nuser: 65534\n"),
       ("F-02-routes", UPSTREAM + "routes:\n- {domains: a.test, answer: nodata}\n"
        "- domains: ['*.b.test', 10.0.0.0/8]\n  upstreams: [{address: 10.0.0.1, cleartext: true}]\n"
        "  order: fastest\n  fallback: {after: auto}\n  cache: {stale: 0, min_ttl: 5s}\n"
        "- {domains: [c.b.test], upstreams: default}\n"),
       ("F-02-allow", UPSTREAM + "allow: [any, private, 192.0.2.0/24, '2001:db8::/32', '::1']\n"))
def test_accepted_configurations_are_valid(schema, tmp_path, authority, any_address, text):
    (tmp_path / "config.yml").write_text(text)
    assert errors(schema, text) == []
    refused = [line for line in any_address(run, tmp_path, "check").stderr.splitlines()
               if "CA " not in line and "eth0" not in line and "fe80::1" not in line]
    assert refused == []


@table("text",
       ("F-06-no-upstreams", "log: {level: info}\n"),
       ("F-06-empty-list", "upstreams: []\n"),
       ("F-02-unknown-key", UPSTREAM + "colour: red\n"),
       ("F-02-misspelt-key", UPSTREAM + "timeouts: {qurey: 1s}\n"),
       ("F-02-misspelt-key-of-an-upstream", "upstreams: [{adress: 1.1.1.1}]\n"),
       ("F-02-address-missing", "upstreams: [{hostname: a.test}]\n"),
       ("F-02-wrong-type", UPSTREAM + "log: info\n"),
       ("F-02-list-for-a-number", UPSTREAM + "inflight: [1]\n"),
       ("F-02-number-too-large", UPSTREAM + "inflight: 16385\n"),
       ("F-02-number-too-small", UPSTREAM + "udp_size: 511\n"),
       ("F-02-word", UPSTREAM + "log: {level: loud}\n"),
       ("F-02-boolean", UPSTREAM + "privacy: {padding: yes}\n"),
       ("F-02-answer-of-a-route", UPSTREAM + "routes: {domains: a, answer: drop}\n"),
       ("F-02-route-without-domains", UPSTREAM + "routes: {answer: nodata}\n"),
       ("F-02-domain", UPSTREAM + "routes: {domains: a b, answer: nodata}\n"),
       ("F-08-no-unit", UPSTREAM + "timeouts: {query: 5}\n"),
       ("F-08-zero", UPSTREAM + "timeouts: {query: 0}\n"),
       ("F-08-word", UPSTREAM + "timeouts: {query: never}\n"),
       ("F-08-weeks", UPSTREAM + "cache: {max_ttl: 1w}\n"),
       ("F-21-no-unit", UPSTREAM + "cache: {size: 4194304}\n"),
       ("F-21-other-unit", UPSTREAM + "cache: {size: 4M}\n"),
       ("F-21-alone", UPSTREAM + "cache: 4MiB\n"),
       ("F-13-host-name", "upstreams: [dns.test]\n"),
       ("F-17-scheme", "upstreams: ['tls://1.1.1.1']\n"),
       ("F-17-at", "upstreams: ['1.1.1.1@853']\n"),
       ("F-17-listen-port", UPSTREAM + "listen: 53\n"),
       ("F-17-listen-colon-port", UPSTREAM + "listen: ':53'\n"),
       ("F-17-listen-name", UPSTREAM + "listen: 1.1.1.1#a.test\n"),
       ("F-17-pin", "upstreams: [{address: 1.1.1.1, pins: [abc]}]\n"),
       ("F-02-allow", UPSTREAM + "allow: [localhost]\n"),
       ("F-06-too-many", UPSTREAM + f"listen: [{'127.0.0.1, ' * 17}]\n"))
def test_refused_configurations_are_not_valid(schema, tmp_path, text):
    (tmp_path / "config.yml").write_text(text)
    assert errors(schema, text) != []
    assert run(tmp_path, "check").returncode == 2
