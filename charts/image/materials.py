"""What a binary is made of: the crates in it, their licences, and the bill of materials."""

import json
import pathlib
import re
import subprocess
import tomllib

# The names under which crates keep their licences.
LICENCE_FILE = re.compile(r"(un)?licen[sc]e|copying|notice|copyright", re.IGNORECASE)


class Bill:
    """The crates that are linked into the binary of one target, in the order of their names."""

    def __init__(self, root, target):
        self.root = root
        metadata = subprocess.run(
            ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={target}"],
            cwd=root, check=True, text=True, stdout=subprocess.PIPE,
        )
        graph = json.loads(metadata.stdout)
        packages = {package["id"]: package for package in graph["packages"]}
        nodes = {node["id"]: node for node in graph["resolve"]["nodes"]}
        narrows = packages[graph["resolve"]["root"]]
        self.version = narrows["version"]
        self.description = narrows["description"]
        linked = reached(nodes, narrows["id"]) - {narrows["id"]}
        self.crates = sorted(
            (packages[key] for key in linked), key=lambda crate: (crate["name"], crate["version"])
        )
        lock = tomllib.loads((root / "Cargo.lock").read_text())
        self.checksums = {(p["name"], p["version"]): p.get("checksum") for p in lock["package"]}

    def cyclone_dx(self):
        """The bill of materials as CycloneDX 1.5, without time or serial number."""
        top = component("application", "narrows", self.version, "Apache-2.0")
        parts = []
        for crate in self.crates:
            part = component("library", crate["name"], crate["version"], crate["license"])
            checksum = self.checksums.get((crate["name"], crate["version"]))
            if checksum:
                part["hashes"] = [{"alg": "SHA-256", "content": checksum}]
            parts.append(part)
        document = {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {"component": top},
            "components": parts,
        }
        return json.dumps(document, indent=1, sort_keys=True) + "\n"

    def licences(self):
        """Every licence text once, with the crates that it is for."""
        texts = {}
        for crate in self.crates:
            folder = pathlib.Path(crate["manifest_path"]).parent
            title = f"{crate['name']} {crate['version']} ({crate['license']})"
            found = [f for f in sorted(folder.iterdir()) if f.is_file() and LICENCE_FILE.match(f.name)]
            for file in found:
                text = file.read_text(errors="replace").replace("\r\n", "\n").strip()
                texts.setdefault(text, []).append(title)
            if not found:
                texts.setdefault("(no text in the crate: see its licence above)", []).append(title)
        line = "=" * 80
        return "".join(
            f"{line}\n" + "\n".join(dict.fromkeys(crates)) + f"\n{line}\n\n{text}\n\n"
            for text, crates in sorted(texts.items(), key=lambda entry: (entry[1], entry[0]))
        )


def reached(nodes, start):
    """All crates that are linked, that is, not only used to build or to test."""
    seen, waiting = set(), [start]
    while waiting:
        key = waiting.pop()
        if key not in seen:
            seen.add(key)
            waiting += [
                dependency["pkg"]
                for dependency in nodes[key]["deps"]
                if any(kind["kind"] is None for kind in dependency["dep_kinds"])
            ]
    return seen


def component(kind, name, version, licence):
    return {
        "type": kind,
        "name": name,
        "version": version,
        "bom-ref": f"pkg:cargo/{name}@{version}",
        "purl": f"pkg:cargo/{name}@{version}",
        "licenses": [{"expression": (licence or "NOASSERTION").replace("/", " OR ")}],
    }

