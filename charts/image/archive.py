"""Archives that are the same bytes every time: tarballs, and OCI images in one file.

An image archive is an OCI layout (image-spec 1.1) in a tar, which `ctr images import`, `podman load`,
`skopeo copy oci-archive:…`, `kind load image-archive` and k3s take; its manifest.json is for
`docker load`.
"""

import gzip
import hashlib
import io
import json
import pathlib
import tarfile

MEDIA_TYPE = "application/vnd.oci.image."
# The one time in everything that is written.
EPOCH = "1970-01-01T00:00:00Z"


def tar(files):
    """A tar of (path, mode, bytes) with the folders that these need, owned by root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as out:
        folders = set()
        for path, mode, content in files:
            for folder in reversed(pathlib.PurePosixPath(path).parents):
                if str(folder) != "." and folder not in folders:
                    folders.add(folder)
                    entry = tarfile.TarInfo(str(folder))
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    out.addfile(entry)
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), mode
            out.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def zipped(content):
    return gzip.compress(content, compresslevel=9, mtime=0)


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def write_tarball(out, files):
    """Writes a .tar.gz; its digest."""
    content = zipped(tar(files))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(content)
    return digest(content)


def write_image(out, name, platforms, settings):
    """Writes an image archive and returns the digest by which the image is pulled.

    `platforms` is a list of (architecture, files), `settings` the image's configuration.
    """
    blobs = {}
    manifests = [one_platform(blobs, *platform, settings) for platform in platforms]
    image = manifests[0]
    if len(manifests) > 1:
        index = {"schemaVersion": 2, "mediaType": MEDIA_TYPE + "index.v1+json"}
        image = put(blobs, encoded({**index, "manifests": manifests}), "index.v1+json")
    named = {
        **image,
        "annotations": {
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name,
        },
    }
    index = {"schemaVersion": 2, "mediaType": MEDIA_TYPE + "index.v1+json", "manifests": [named]}
    first = json.loads(blobs[manifests[0]["digest"]])
    files = [
        ("oci-layout", 0o644, encoded({"imageLayoutVersion": "1.0.0"})),
        ("index.json", 0o644, encoded(index)),
        ("manifest.json", 0o644, encoded([for_docker(name, first)])),
        *((f"{path(key)}", 0o644, blob) for key, blob in sorted(blobs.items())),
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(tar(files))
    return image["digest"]


def one_platform(blobs, architecture, files, settings):
    """The descriptor of the manifest of one architecture, its parts put into `blobs`."""
    layer = tar(files)
    configuration = {
        "architecture": architecture,
        "os": "linux",
        "created": EPOCH,
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        "history": [{"created": EPOCH, "created_by": "charts/image/build"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPE + "manifest.v1+json",
        "config": put(blobs, encoded(configuration), "config.v1+json"),
        "layers": [put(blobs, zipped(layer), "layer.v1.tar+gzip")],
    }
    descriptor = put(blobs, encoded(manifest), "manifest.v1+json")
    return {**descriptor, "platform": {"architecture": architecture, "os": "linux"}}


def put(blobs, content, kind):
    key = digest(content)
    blobs[key] = content
    return {"mediaType": MEDIA_TYPE + kind, "digest": key, "size": len(content)}


def for_docker(name, manifest):
    return {
        "Config": path(manifest["config"]["digest"]),
        "RepoTags": [name],
        "Layers": [path(layer["digest"]) for layer in manifest["layers"]],
    }


def path(key):
    return "blobs/" + key.replace(":", "/")


def encoded(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
