"""Looks at what the chart renders, for .ci/chart.

    look.py schemas DIR CRD...    writes the JSON schemas of custom resources
    look.py local DIR DIR         copies Kubernetes' schemas so that they find each other
    look.py look CHARTS [--server-help FILE]

Says what is wrong, a line each, and ends with 1 then.
"""

import argparse
import json
import pathlib
import re
import sys

import yaml

# Settings of the server that the chart makes itself, so that nobody else says them.
OF_THE_CHART = {
    "config-file", "data-dir", "bootstrap", "node-name", "bind-addr", "rpc-port", "advertise-addr", "gossip-advertise-addr",
    "start-join-addrs", "gossip-key-file", "rack", "server-tls-cert-file", "server-tls-key-file", "server-tls-ca-file",
    "peer-tls-cert-file", "peer-tls-key-file", "peer-tls-ca-file", "tls-crl-file", "acl-policy-file", "acl-model-file",
    "insecure-serve-beyond-loopback", "ops-addr",
}
# Variables of other commands than the server, which it passes over.
OF_COMMANDS = {"VARVE_SERVER", "VARVE_TLS_CA_FILE", "VARVE_TLS_CERT_FILE", "VARVE_TLS_KEY_FILE"}

problems = []


def problem(text):
    problems.append(text)


def closed(schema):
    """The schema, where what it does not name is refused, as the API server prunes it."""
    if isinstance(schema, dict):
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
        if schema.get("x-kubernetes-int-or-string"):
            return {"anyOf": [{"type": "integer"}, {"type": "string"}]}
        return {key: closed(value) for key, value in schema.items() if key != "format"}
    return [closed(item) for item in schema] if isinstance(schema, list) else schema


def schemas(directory, definitions):
    directory.mkdir(parents=True, exist_ok=True)
    for definition in definitions:
        spec = yaml.safe_load(pathlib.Path(definition).read_text())["spec"]
        for version in spec["versions"]:
            schema = closed(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            name = f"{spec['names']['kind'].lower()}-{spec['group']}-{version['name']}.json"
            (directory / name).write_text(json.dumps(schema))


def local(source, target):
    """Copies Kubernetes' schemas, which name each other as on the site that they come from, so that they do as files."""
    target.mkdir(parents=True)
    for file in source.glob("*.json"):
        schema = json.loads(file.read_text().replace('"/api/_definitions.json', '"_definitions.json'))
        schema.pop("$id", None)
        (target / file.name).write_text(json.dumps(schema))


def settings_of(help_file):
    return set(re.findall(r"^ +--([a-z-]+)", help_file.read_text(), re.MULTILINE)) - {"help"}


def pod_of(manifest):
    if manifest["kind"] == "Pod":
        return manifest["spec"]
    return manifest.get("spec", {}).get("template", {}).get("spec") if manifest["kind"] in ("StatefulSet", "Job") else None


def look_at_pod(where, pod):
    """The Pod Security Standard `restricted`, and what each container should have."""
    security = pod.get("securityContext", {})
    if security.get("runAsNonRoot") is not True or security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        problem(f"{where}: the pod is not restricted")
    if pod.get("enableServiceLinks") is not False:
        problem(f"{where}: services would be told of as settings")
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    for container in pod.get("initContainers", []) + pod.get("containers", []):
        name = f"{where}, container {container['name']}"
        if container["image"].startswith("example.com/"):
            continue
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities", {}).get("drop") != ["ALL"]:
            problem(f"{name}: is not restricted")
        if own.get("readOnlyRootFilesystem") is not True:
            problem(f"{name}: may write to its root")
        if "memory" not in container.get("resources", {}).get("limits", {}):
            problem(f"{name}: has no limit of memory")
        if "command" in container:
            problem(f"{name}: has a command, and the image has one program")
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes | {"data"}:
                problem(f"{name}: mounts {mount['name']}, which is no volume")
            if "subPath" in mount or "subPathExpr" in mount:
                problem(f"{name}: {mount['mountPath']} would never change")


def look_at_server(where, manifest, known, config):
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    said = set()
    for variable in container["env"]:
        for other in re.findall(r"\$\(([A-Z_]+)\)", variable.get("value", "")):
            if other not in said:
                problem(f"{where}: {variable['name']} uses {other}, which is not there by then")
        said.add(variable["name"])
        if variable["name"].startswith("VARVE_") and variable["name"] not in OF_COMMANDS:
            setting = variable["name"].removeprefix("VARVE_").lower().replace("_", "-")
            if setting not in OF_THE_CHART:
                problem(f"{where}: {variable['name']} is no setting that the chart makes")
            if known and setting not in known:
                problem(f"{where}: {variable['name']} is no setting of the server")
    for name, text in config["data"].items():
        for setting in yaml.safe_load(text):
            if known and setting not in known:
                problem(f"{where}: {name} has {setting}, which is no setting of the server")
    mounts = sorted(mount["mountPath"] for mount in container["volumeMounts"])
    for variable in container["env"]:
        path = variable.get("value", "")
        if path.startswith("/") and not any(path.startswith(mount + "/") for mount in mounts):
            problem(f"{where}: {variable['name']} is {path}, where nothing is mounted")


def look(charts, known):
    schema = json.loads((charts / "varve/values.schema.json").read_text())
    in_schema = set(schema["properties"]["config"]["properties"])
    if known:
        for setting in sorted(known - in_schema - OF_THE_CHART - {"quiet", "verbose", "stop-with-stdin"}):
            problem(f"values.schema.json: `config` lacks the setting {setting}")
        for setting in sorted((in_schema | OF_THE_CHART) - known):
            problem(f"values.schema.json: {setting} is no setting of the server")
    for file in sorted((charts / "golden").glob("*.yaml")):
        manifests = [manifest for manifest in yaml.safe_load_all(file.read_text()) if manifest]
        by = {}
        for manifest in manifests:
            key = (manifest["kind"], manifest["metadata"]["name"])
            if key in by:
                problem(f"{file.name}: {key} is there twice")
            by[key] = manifest
            if len(manifest["metadata"]["name"]) > 63:
                problem(f"{file.name}: {key} has too long a name")
            pod = pod_of(manifest)
            if pod:
                look_at_pod(f"{file.name}, {key[0]} {key[1]}", pod)
            if manifest["kind"] == "StatefulSet":
                look_at_server(file.name, manifest, known, by["ConfigMap", key[1]])


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("schemas")
    one.add_argument("directory", type=pathlib.Path)
    one.add_argument("definitions", nargs="+")
    copy = commands.add_parser("local")
    copy.add_argument("source", type=pathlib.Path)
    copy.add_argument("target", type=pathlib.Path)
    other = commands.add_parser("look")
    other.add_argument("charts", type=pathlib.Path)
    other.add_argument("--server-help", type=pathlib.Path)
    args = parser.parse_args()
    if args.command == "schemas":
        schemas(args.directory, args.definitions)
        return
    if args.command == "local":
        local(args.source, args.target)
        return
    known = settings_of(args.server_help) if args.server_help else set()
    look(args.charts, known)
    for text in problems:
        print(f"chart: {text}", file=sys.stderr)
    sys.exit(1 if problems else 0)


main()
