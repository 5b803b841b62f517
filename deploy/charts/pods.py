"""Runs what the chart renders as Kubernetes would, with real processes and without Kubernetes.

    pods.py PROGRAM [RENDERED]     RENDERED is deploy/charts/golden/default.yaml where it is not said

Each pod is a process of PROGRAM in a network namespace of its own, with an address that is new at each start, in a root that is
empty but for the program and the volumes, read-only, as the user and with the environment that the rendering says. Volumes of
Secrets and ConfigMaps lie there as the kubelet lays them: links into a directory that is replaced as a whole, owned by root, read by
the pod's group. A name server knows the pods and the services. Then, while records are appended all the time: the jobs and tests of
the chart are run, nodes are added, restarted one by one as a StatefulSet does, one loses its volume, all are killed at once. In the
end each record has to be there, once and in order.

Needs root, for the namespaces, and PyYAML, which .ci/chart brings (target/ship-tools/python); says NOT RUN without root. What is sent stays in the namespaces.
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import yaml

HERE = pathlib.Path(__file__).resolve().parent
GATEWAY = "10.244.0.1"
started = time.monotonic()


def say(text):
    print(f"pods: {time.monotonic() - started:6.1f} s: {text}", flush=True)


class Failed(Exception):
    """Something is not as it should be."""


def await_(what, seconds, look, pause=0.2):
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(pause)


def run(*args):
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL)


class Names(threading.Thread):
    """The name server: a pod's name and the headless service as soon as there is an address, the other service when it is ready."""

    def __init__(self, domain, headless, service):
        super().__init__(daemon=True)
        self.zone, self.headless, self.service = domain, headless, service
        self.pods, self.ready, self.asked = {}, set(), 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((GATEWAY, 53))

    def addresses(self, name):
        if name == f"{self.headless}.{self.zone}":
            return sorted(self.pods.values())
        if name == f"{self.service}.{self.zone}":
            return sorted(self.pods[pod] for pod in self.ready if pod in self.pods)
        pod = name.removesuffix(f".{self.headless}.{self.zone}")
        return [self.pods[pod]] if pod != name and pod in self.pods else None

    def run(self):
        while True:
            question, client = self.socket.recvfrom(4096)
            at, labels = 12, []
            while question[at]:
                labels.append(question[at + 1 : at + 1 + question[at]].decode().lower())
                at += 1 + question[at]
            kind = struct.unpack(">H", question[at + 1 : at + 3])[0]
            found = self.addresses(".".join(labels))
            self.asked += 1
            answers = [socket.inet_aton(address) for address in found or [] if kind == 1]
            records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 5, 4) + answer for answer in answers)
            code = 0x8180 | (3 if found is None else 0)
            head = question[:2] + struct.pack(">HHHHH", code, 1, len(answers), 0, 0)
            self.socket.sendto(head + question[12 : at + 5] + records, client)


class Cluster:
    """What Kubernetes knows, and the machinery that stands for it."""

    def __init__(self, program, manifests, work):
        self.program, self.work = program, work
        self.by = {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in manifests}
        self.set = next(manifest for manifest in manifests if manifest["kind"] == "StatefulSet")
        self.name, namespace = self.set["metadata"]["name"], self.set["metadata"]["namespace"]
        self.secrets, self.namespaces, self.pods = {}, 0, {}
        # With an address that stays: by itself it is that of some port, and the pods' neighbours' tables would be wrong.
        run("ip", "link", "add", "pods", "address", "02:00:00:00:00:01", "type", "bridge")
        run("ip", "address", "add", f"{GATEWAY}/16", "dev", "pods")
        run("ip", "link", "set", "pods", "up")
        run("ip", "link", "set", "lo", "up")
        self.names = Names(f"{namespace}.svc.cluster.local", self.set["spec"]["serviceName"], self.name)
        self.names.start()
        self.search = f"{namespace}.svc.cluster.local svc.cluster.local cluster.local"
        settings = subprocess.run([program, "server", "--help"], capture_output=True, text=True, check=True).stdout
        self.has_operations = "--ops-addr" in settings
        if not self.has_operations:
            say("NOT AS IN KUBERNETES: the program has no operations listener; `varve health` is asked in place of /readyz")
        self.group_may_read_gossip_key = True
        with open(program, "rb") as file:
            self.is_static = b"/lib64/ld-linux" not in file.read(65536)

    def namespace(self):
        """A network namespace and its address, both new."""
        self.namespaces += 1
        number = self.namespaces
        name, address = f"pod{number}", f"10.244.{1 + number // 250}.{1 + number % 250}"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"veth{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", f"veth{number}", "master", "pods", "up")
        run("ip", "-n", name, "address", "add", f"{address}/16", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        run("ip", "-n", name, "link", "set", "lo", "up")
        return name, address

    def files_of(self, volume):
        """The files of a volume of a Secret or ConfigMap, and their mode."""
        if "configMap" in volume:
            data = self.by["ConfigMap", volume["configMap"]["name"]]["data"]
            return {name: text.encode() for name, text in data.items()}, volume["configMap"].get("defaultMode", 0o644)
        if "secret" in volume:
            data = self.secrets[volume["secret"]["secretName"]]
            items = volume["secret"].get("items", [{"key": key, "path": key} for key in data])
            return {item["path"]: data[item["key"]] for item in items}, volume["secret"].get("defaultMode", 0o644)
        return None, None

    def lay(self, directory, volume, group):
        """Lays a volume as the kubelet does: files of root, read by the pod's group, behind links."""
        files, mode = self.files_of(volume)
        data = directory / "..2026_01_01"
        data.mkdir(parents=True)
        for name, content in files.items():
            file = data / name
            file.write_bytes(content)
            os.chown(file, 0, group)
            file.chmod(mode | 0o440)
            if name == "gossip.key" and not self.group_may_read_gossip_key:
                os.chown(file, group, group)
                file.chmod(0o400)
            (directory / name).symlink_to(f"..data/{name}")
        (directory / "..data").symlink_to(data.name)
        directory.chmod(0o755)

    def environment(self, container, pod, address):
        known = {}
        for variable in container.get("env", []):
            if "valueFrom" in variable:
                path = variable["valueFrom"]["fieldRef"]["fieldPath"]
                value = {"metadata.name": pod, "status.podIP": address}.get(path, "")
            else:
                value = re.sub(r"\$\(([A-Z_]+)\)", lambda found: known.get(found[1], found[0]), variable["value"])
            known[variable["name"]] = value
        if not self.has_operations:
            known.pop("VARVE_OPS_ADDR", None)
        known["PATH"] = "/usr/local/bin"
        return known

    def spawn(self, pod, spec, container, namespace, address, log, data=None, scratch=None, **pipes):
        """A container's process. The shell, mount and chroot are the container runtime's part; then they are gone."""
        user, group = spec["securityContext"]["runAsUser"], spec["securityContext"]["fsGroup"]
        root = pathlib.Path(tempfile.mkdtemp(dir=self.work, prefix=f"{pod}-"))
        root.chmod(0o755)
        (root / "usr/local/bin").mkdir(parents=True)
        (root / "usr/local/bin/varve").touch()
        for directory in ("proc", "dev", "etc"):
            (root / directory).mkdir()
        (root / "etc/resolv.conf").write_text(f"nameserver {GATEWAY}\nsearch {self.search}\noptions ndots:5\n")
        (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n{address} {pod}\n")
        mounts = [f"mount --bind {self.program} {root}/usr/local/bin/varve"]
        if not self.is_static:
            for directory in ("lib", "lib64"):
                (root / directory).mkdir()
                mounts.append(f"mount --bind /{directory} {root}/{directory}")
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            at = root / mount["mountPath"].lstrip("/")
            volume = volumes.get(mount["name"], {})
            if mount["name"] == "data" or "emptyDir" in volume:
                at.mkdir(parents=True)
                mounts.append(f"mount --bind {data if mount['name'] == 'data' else scratch} {at}")
            else:
                self.lay(at, volume, group)
        commands = [f"mount --bind {root} {root}", *mounts, f"mount -o remount,bind,ro {root}", f"mount -t proc proc {root}/proc"]
        commands += [f"mount --bind /dev {root}/dev", f'exec chroot --userspec={user}:{group} {root} varve "$@"']
        environment = self.environment(container, pod, address)
        arguments = ["ip", "netns", "exec", namespace, "env", "-i"]
        # The runtime's own commands are found by the path of this machine, the program by the image's.
        arguments += [f"{name}={value}" for name, value in environment.items() if name != "PATH"]
        arguments += [f"PATH=/usr/local/bin:{os.environ['PATH']}"]
        arguments += ["sh", "-ec", "; ".join(commands), "sh", *container["args"]]
        return subprocess.Popen(arguments, stdout=pipes.get("stdout", log), stderr=log, stdin=pipes.get("stdin", subprocess.DEVNULL))

    def run_pod(self, manifest, pod, backoff=1, deadline=300):
        """A pod of a job or a test: its containers one after the other, again where one fails and the pod is one to try again."""
        spec = manifest["spec"].get("template", manifest)["spec"]
        namespace, address = self.namespace()
        scratch = pathlib.Path(tempfile.mkdtemp(dir=self.work))
        group = spec["securityContext"]["fsGroup"]
        os.chown(scratch, 0, group)
        scratch.chmod(0o2770)
        end = time.monotonic() + deadline
        for container in spec.get("initContainers", []) + spec["containers"]:
            if "kubectl" in container["image"]:
                self.kubectl(container["args"], scratch)
                continue
            while True:
                name = f"{pod}-{container['name']}"
                with open(self.work / f"{name}.log", "w") as log:
                    code = self.spawn(pod, spec, container, namespace, address, log, scratch=scratch).wait()
                if code == 0:
                    break
                if spec["restartPolicy"] == "Never" or time.monotonic() > end:
                    raise Failed(f"{name} ended with {code}: {self.log_of(name)}")
                time.sleep(backoff)

    def kubectl(self, args, scratch):
        """What the job has kubectl do: `create secret generic NAME --from-file=KEY=PATH...`."""
        if args[:3] != ["create", "secret", "generic"]:
            raise Failed(f"kubectl is asked for something else: {args}")
        files = dict(arg.removeprefix("--from-file=").split("=", 1) for arg in args if arg.startswith("--from-file="))
        read = lambda path: (scratch / pathlib.Path(path).relative_to("/certs")).read_bytes()
        if self.secrets.setdefault(args[3], {}):
            raise Failed(f"the secret {args[3]} is there already")
        self.secrets[args[3]] = {key: read(path) for key, path in files.items()}

    def log_of(self, name, lines=8):
        text = (self.work / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n    ".join(["", *text[-lines:]])

    # --- The StatefulSet.

    def start(self, ordinal):
        pod = f"{self.name}-{ordinal}"
        spec = self.set["spec"]["template"]["spec"]
        volume = self.work / f"volume-{ordinal}"
        if not volume.exists():
            volume.mkdir()
            # Some file systems keep this in a volume's root.
            (volume / "lost+found").mkdir(mode=0o700)
            os.chown(volume, 0, spec["securityContext"]["fsGroup"])
            volume.chmod(0o2775)
        namespace, address = self.namespace()
        self.names.pods[pod] = address
        log = open(self.work / f"{pod}.log", "a")
        process = self.spawn(pod, spec, spec["containers"][0], namespace, address, log, data=volume)
        self.pods[ordinal] = (process, namespace, address)

    def is_ready(self, ordinal):
        pod, (process, namespace, address) = f"{self.name}-{ordinal}", self.pods[ordinal]
        if process.poll() is not None:
            raise Failed(f"{pod} ended with {process.returncode}: {self.log_of(pod)}")
        if self.has_operations:
            try:
                ready = urllib.request.urlopen(f"http://{address}:8402/readyz", timeout=5).status == 200
            except (urllib.error.URLError, OSError):
                ready = False
        else:
            ready = self.varve(ordinal, "health", "--timeout", "2s", check=False).returncode == 0
        (self.names.ready.add if ready else self.names.ready.discard)(pod)
        return ready

    def await_ready(self, ordinals, seconds=120):
        for ordinal in ordinals:
            await_(f"{self.name}-{ordinal} is ready", seconds, lambda ordinal=ordinal: self.is_ready(ordinal))

    def stop(self, ordinal):
        """As a pod is deleted: out of the services, preStop, SIGTERM, and its end within the time that it has."""
        spec = self.set["spec"]["template"]["spec"]
        pod, (process, _, _) = f"{self.name}-{ordinal}", self.pods.pop(ordinal)
        self.names.ready.discard(pod)
        lifecycle = spec["containers"][0].get("lifecycle", {})
        time.sleep(lifecycle.get("preStop", {}).get("sleep", {}).get("seconds", 0))
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(spec["terminationGracePeriodSeconds"])
        except subprocess.TimeoutExpired as late:
            raise Failed(f"{pod} did not end in its time") from late
        del self.names.pods[pod]
        if code != 0:
            raise Failed(f"{pod} ended with {code} when it was asked to stop: {self.log_of(pod)}")

    def kill(self, ordinal):
        pod, (process, _, _) = f"{self.name}-{ordinal}", self.pods.pop(ordinal)
        self.names.ready.discard(pod)
        process.kill()
        process.wait()
        del self.names.pods[pod]

    def varve(self, ordinal, *args, check=True):
        """`kubectl exec`: a command in a pod, with the pod's environment."""
        pod, (_, namespace, address) = f"{self.name}-{ordinal}", self.pods[ordinal]
        spec = self.set["spec"]["template"]["spec"]
        container = {**spec["containers"][0], "args": list(args)}
        with open(self.work / "exec.log", "w") as log:
            process = self.spawn(pod, spec, container, namespace, address, log, data=self.work / f"volume-{ordinal}", stdout=subprocess.PIPE)
            output, _ = process.communicate()
        if check and process.returncode != 0:
            raise Failed(f"varve {' '.join(args)} ended with {process.returncode}: {output.decode()} {self.log_of('exec')}")
        return subprocess.CompletedProcess(args, process.returncode, output.decode())


class Load(threading.Thread):
    """Appends numbered records by the service, by one program that is never restarted."""

    def __init__(self, cluster, per_second):
        super().__init__(daemon=True)
        test = cluster.by["Pod", f"{cluster.name}-test"]["spec"]
        container = next(container for container in test["initContainers"] if container["name"] == "produce")
        container = {**container, "args": ["produce", "load", "--key-delimiter", ":", "--timeout", "3m"]}
        namespace, address = cluster.namespace()
        self.log = open(cluster.work / "load.log", "w")
        self.process = cluster.spawn("load", test, container, namespace, address, self.log, stdin=subprocess.PIPE)
        self.pause, self.count, self.ends, self.failed = 1 / per_second, 0, threading.Event(), None

    def run(self):
        try:
            while not self.ends.wait(self.pause):
                self.process.stdin.write(f"{self.count % 97}:record {self.count}\n".encode())
                self.process.stdin.flush()
                self.count += 1
            self.process.stdin.close()
        except OSError as error:
            self.failed = error

    def end(self, cluster):
        self.ends.set()
        self.join()
        code = self.process.wait(240)
        if code != 0 or self.failed:
            raise Failed(f"the producer ended with {code} ({self.failed}): {cluster.log_of('load')}")
        return self.count


def check_records(cluster, count):
    lines = cluster.varve(0, "consume", "load", "--from", "start", "--print-partition").stdout.splitlines()
    seen, last = {}, {}
    for line in lines:
        partition, number = re.fullmatch(r"(\d+)\s+record (\d+)", line).groups()
        number = int(number)
        seen[number] = seen.get(number, 0) + 1
        if last.get(partition, -1) > number and seen[number] == 1:
            raise Failed(f"record {number} comes behind {last[partition]} in partition {partition}")
        last[partition] = number
    missing = [number for number in range(count) if number not in seen]
    doubled = [number for number, times in seen.items() if times > 1]
    if missing or doubled or len(seen) != count:
        raise Failed(f"of {count} records {len(missing)} are missing ({missing[:5]}), {len(doubled)} there twice ({doubled[:5]})")
    return len(last)


def scenario(cluster):
    rolled = range(5)
    least = cluster.set["spec"]["minReadySeconds"]
    by_kubectl = cluster.by["Job", f"{cluster.name}-certs"]
    cluster.run_pod(by_kubectl, "certs")
    say(f"the job made {len(cluster.secrets[f'{cluster.name}-tls'])} files of certificates and keys")
    key = cluster.work / "gossip.key"
    run(cluster.program, "gossip", "keygen", key)
    cluster.secrets[f"{cluster.name}-gossip"] = {"gossip.key": key.read_bytes()}

    for ordinal in range(cluster.set["spec"]["replicas"]):
        cluster.start(ordinal)
    time.sleep(1)
    refused = [ordinal for ordinal, (process, _, _) in cluster.pods.items() if process.poll() is not None]
    if refused and "gossip key" in cluster.log_of(f"{cluster.name}-0"):
        say("NOT AS IN KUBERNETES: the program does not take a gossip key that its group may read, as all that the kubelet lays is")
        cluster.group_may_read_gossip_key = False
        for ordinal in refused:
            cluster.start(ordinal)
    cluster.run_pod(cluster.by["Job", f"{cluster.name}-init"], "init")
    cluster.await_ready(range(3))
    cluster.varve(0, "cluster", "health", "--wait=2m")
    identity = cluster.varve(0, "cluster", "info", "-o", "json").stdout
    identity = re.search(r'"cluster_id":\s*"([0-9a-f]+)"', identity)[1]
    say(f"three pods started at once, and the job made cluster {identity} of them")
    cluster.run_pod(cluster.by["Pod", f"{cluster.name}-test"], "test")
    say("helm's test passes")

    cluster.varve(0, "topic", "create", "load", "--partitions", "3", "--replication-factor", "3")
    load = Load(cluster, 100)
    load.start()
    for ordinal in (3, 4):
        cluster.start(ordinal)
    cluster.await_ready((3, 4))
    cluster.varve(0, "cluster", "health", "--wait=3m")
    say("scaled to five")

    for ordinal in reversed(rolled):
        before = load.count
        at = time.monotonic()
        cluster.stop(ordinal)
        stopped = time.monotonic() - at
        cluster.start(ordinal)
        cluster.await_ready((ordinal,))
        say(f"{cluster.name}-{ordinal} stopped in {stopped:.1f} s, preStop among it, and was ready after {time.monotonic() - at:.1f} s; {load.count - before} records meanwhile")
        time.sleep(least)
    cluster.varve(0, "cluster", "health", "--wait=3m")
    say("all were restarted, one by one")

    cluster.kill(0)
    shutil.rmtree(cluster.work / "volume-0")
    cluster.start(0)
    cluster.await_ready((0,))
    cluster.varve(0, "cluster", "health", "--wait=5m")
    now = re.search(r'"cluster_id":\s*"([0-9a-f]+)"', cluster.varve(0, "cluster", "info", "-o", "json").stdout)[1]
    if now != identity:
        raise Failed(f"the first pod lost its volume and is in cluster {now} now")
    say("the first pod, which made the cluster, lost its volume, and joined it")

    for ordinal in rolled:
        cluster.kill(ordinal)
    for ordinal in rolled:
        cluster.start(ordinal)
    cluster.await_ready(rolled)
    cluster.varve(0, "cluster", "health", "--wait=3m")
    say("all were killed at once, and came back at other addresses")

    count = load.end(cluster)
    partitions = check_records(cluster, count)
    say(f"each of {count} records is there once, in order in each of {partitions} partitions")
    for ordinal in rolled:
        cluster.stop(ordinal)


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    rendered = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else HERE / "golden/default.yaml"
    if os.geteuid() != 0 or not all(shutil.which(tool) for tool in ("ip", "unshare", "chroot", "mount")):
        print("pods: NOT RUN, it takes root and iproute2")
        return
    if os.environ.get("PODS_INSIDE") != "1":
        # Namespaces of its own for all: what is left behind goes with them.
        os.environ["PODS_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, *sys.argv])
    pathlib.Path("/run/netns").mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "none", "/run/netns")
    work = pathlib.Path(tempfile.mkdtemp())
    work.chmod(0o755)
    cluster = Cluster(program, [manifest for manifest in yaml.safe_load_all(rendered.read_text()) if manifest], work)
    try:
        scenario(cluster)
        shutil.rmtree(work, ignore_errors=True)
    except Exception as failed:
        logs = [cluster.log_of(f"{cluster.name}-{ordinal}") for ordinal in range(5) if (work / f"{cluster.name}-{ordinal}.log").exists()]
        print("pods:", failed, *logs, f"logs are in {work}", sep="\n", file=sys.stderr)
        sys.exit(1)


main()
