#!/usr/bin/env python3
"""Checks that fly.toml, docker-compose.yml, deploy/haproxy.cfg and the files in docs/proxies/kubernetes.md agree with the
Dockerfile, the server and each other."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from ruamel.yaml import YAML

failures = []


def check(holds, message):
    if not holds:
        failures.append(message)


def seconds(value):
    """The seconds in 30, "30s", "1m5s" or "500ms"."""
    units = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
    if isinstance(value, int):
        return value
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(ms|h|m|s)", value))


def found(pattern, text):
    return re.search(pattern, text, re.MULTILINE).group(1)


def check_drain(where, env, probe_seconds, failed_probes, kill_seconds):
    delay = seconds(env["HUBBUB_DRAIN_DELAY"])
    timeout = seconds(env["HUBBUB_DRAIN_TIMEOUT"])
    check(delay >= probe_seconds * failed_probes, f"{where}: the drain delay is shorter than {failed_probes} checks")
    check(seconds(env["HUBBUB_DRAIN_WINDOW"]) < timeout, f"{where}: the drain window does not fit in its timeout")
    check(kill_seconds > delay + timeout, f"{where}: a draining instance would be killed before its drain timeout")


server = "\n".join(path.read_text() for path in sorted(Path("src").rglob("*.rs")))
dockerfile = Path("Dockerfile").read_text()
port = int(found(r"HUBBUB_LISTEN=0\.0\.0\.0:(\d+)", dockerfile))
ready = "/health/ready"
check(f'"{ready}"' in server, f"the server has no route {ready}")
check(int(found(r"^EXPOSE (\d+)", dockerfile)) == port, "Dockerfile: EXPOSE is not the port of HUBBUB_LISTEN")

fly = tomllib.loads(Path("fly.toml").read_text())
service = fly["http_service"]
probes = service["checks"]
check(fly["app"], "fly.toml: no app")
check(service["internal_port"] == port, "fly.toml: internal_port is not the server's port")
check(service["min_machines_running"] >= 2 and service["auto_stop_machines"] == "off", "fly.toml: machines may stop")
check(service["concurrency"]["type"] == "connections", "fly.toml: load is not counted in connections")
check([probe["path"] for probe in probes] == [ready], f"fly.toml: no check of {ready}")
check(fly["kill_signal"] == "SIGTERM", "fly.toml: SIGTERM is what drains")
check_drain("fly.toml", fly["env"], max(seconds(probe["interval"]) for probe in probes), 2, seconds(fly["kill_timeout"]))

config = subprocess.run(["docker-compose", "config", "--format", "json"], check=True, capture_output=True, text=True)
services = json.loads(config.stdout)["services"]
hubbub = services["hubbub"]
check([name for name, service in services.items() if service.get("ports")] == ["proxy"], "compose: not one published port")
haproxy = Path("deploy/haproxy.cfg").read_text()
check(f"server-template hubbub 10 hubbub:{port} " in haproxy, "haproxy.cfg: not the server's port")
check(hubbub["deploy"]["replicas"] <= 10, "haproxy.cfg: more replicas than server slots")
check(f"http-check send meth GET uri {ready} " in haproxy, f"haproxy.cfg: no check of {ready}")
check_drain(
    "compose",
    hubbub["environment"],
    seconds(found(r"default-server check inter (\w+)", haproxy)),
    int(found(r"\bfall (\d+)", haproxy)),
    seconds(hubbub["stop_grace_period"]),
)

page = Path("docs/proxies/kubernetes.md").read_text()
manifests = {manifest["kind"]: manifest for manifest in YAML(typ="safe").load_all(found(r"```yaml\n([^`]*)```", page))}
pods = manifests["Deployment"]["spec"]["template"]
container = pods["spec"]["containers"][0]
variables = {variable["name"]: variable["value"] for variable in container["env"]}
probe = container["readinessProbe"]
check(probe["httpGet"]["path"] == ready, f"kubernetes.md: no check of {ready}")
check(container["livenessProbe"]["httpGet"]["path"] != ready, "kubernetes.md: a Redis that is away would restart every pod")
check(port in [entry["containerPort"] for entry in container["ports"]], "kubernetes.md: not the server's port")
for kind in ("Service", "PodDisruptionBudget"):
    selector = manifests[kind]["spec"]["selector"]
    check(selector.get("matchLabels", selector) == pods["metadata"]["labels"], f"kubernetes.md: the {kind} selects no pod")
grace = pods["spec"]["terminationGracePeriodSeconds"]
check_drain("kubernetes.md", variables, probe["periodSeconds"], probe["failureThreshold"], grace)

for name in sorted({*fly["env"], *hubbub["environment"], *variables, *re.findall(r"HUBBUB_\w+(?==)", dockerfile)}):
    check(f'"{name}"' in server, f"{name} is no setting of the server")

for failure in failures:
    print(failure, file=sys.stderr)
sys.exit(1 if failures else 0)
