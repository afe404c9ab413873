#!/usr/bin/env python3
"""merging.py BACKING MOUNT [FOLDER...]

A FUSE file system that shows the directory BACKING at MOUNT and does not distinguish case: everywhere, or only below the folders named, as
ext4 does below one with `chattr +F`. One thread, no cache, no library: it speaks the kernel's protocol (version 7.31). Ends when unmounted.
With INHERITED set, a folder is of that kind if it was made in one, wherever it is moved to, as ext4 has it.
"""

import ctypes
import errno
import os
import struct
import sys

BACKING, MOUNT, FOLDERS = os.fsencode(os.path.abspath(sys.argv[1])), sys.argv[2], [os.fsencode(name) for name in sys.argv[3:]]

# Inodes as the kernel knows them: a number for each path below BACKING.
paths, numbers = {1: b""}, {b"": 1}
handles = {}

inherited = set(FOLDERS) if "INHERITED" in os.environ else None


def full(path):
    return BACKING + b"/" + path if path else BACKING


def merges(folder):
    if inherited is not None:
        return folder in inherited
    return not FOLDERS or any(folder == name or folder.startswith(name + b"/") for name in FOLDERS)


def folded(name):
    return name.decode("utf8", "surrogateescape").casefold()


def child(folder, name):
    """The path of a name, under the one that is there if the folder merges names."""
    path = folder + b"/" + name if folder else name
    if merges(folder) and not os.path.lexists(full(path)):
        for there in os.listdir(full(folder)):
            if folded(there) == folded(name):
                return folder + b"/" + there if folder else there
    return path


def number(path):
    if path not in numbers:
        numbers[path] = max(paths) + 1
        paths[numbers[path]] = path
    return numbers[path]


def moved(old, new):
    for key, path in list(paths.items()):
        if path == old or path.startswith(old + b"/"):
            numbers.pop(path, None)
            paths[key] = new + path[len(old):]
            numbers[paths[key]] = key
    for path in [path for path in inherited or () if path == old or path.startswith(old + b"/")]:
        inherited.remove(path)
        inherited.add(new + path[len(old):])


def attributes(path):
    seen = os.lstat(full(path))
    times = (seen.st_atime_ns, seen.st_mtime_ns, seen.st_ctime_ns)
    seconds, nanos = [time // 10**9 for time in times], [time % 10**9 for time in times]
    return struct.pack("<QQQqqqIIIIIIIIII", seen.st_ino, seen.st_size, seen.st_blocks, *seconds, *nanos, seen.st_mode, seen.st_nlink,
                       seen.st_uid, seen.st_gid, seen.st_rdev, 4096, 0)


def entry(path):
    return struct.pack("<QQQQII", number(path), 0, 0, 0, 0, 0) + attributes(path)


def opened(handle):
    key = max(handles, default=0) + 1
    handles[key] = handle
    return struct.pack("<QII", key, 0, 0)


def owned(path, uid, gid):
    os.lchown(full(path), uid, gid)
    return entry(path)


def lookup(folder, data, uid, gid):
    path = child(folder, data[:-1])
    os.lstat(full(path))
    return entry(path)


def getattr_(path, data, uid, gid):
    return struct.pack("<QII", 0, 0, 0) + attributes(path)


def setattr_(path, data, uid, gid):
    valid, _, _, size, _, atime, mtime, _, anano, mnano, _, mode, _, user, group, _ = struct.unpack("<IIQQQQQQIIIIIIII", data[:88])
    where = full(path)
    if valid & 8:
        os.truncate(where, size)
    if valid & 6:
        os.lchown(where, user if valid & 2 else -1, group if valid & 4 else -1)
    if valid & 1:
        os.chmod(where, mode & 0o7777)
    if valid & 0b110000:
        seen = os.lstat(where)
        atime = atime * 10**9 + anano if valid & 16 else seen.st_atime_ns
        mtime = mtime * 10**9 + mnano if valid & 32 else seen.st_mtime_ns
        os.utime(where, ns=(atime, mtime), follow_symlinks=False)
    return getattr_(path, data, uid, gid)


def readlink(path, data, uid, gid):
    return os.readlink(full(path))


def symlink(folder, data, uid, gid):
    name, target = data.split(b"\0")[:2]
    path = child(folder, name)
    os.symlink(target, full(path))
    return owned(path, uid, gid)


def mknod(folder, data, uid, gid):
    mode, device = struct.unpack("<II", data[:8])
    path = child(folder, data[16:-1])
    os.mknod(full(path), mode, device)
    return owned(path, uid, gid)


def mkdir(folder, data, uid, gid):
    path = child(folder, data[8:-1])
    os.mkdir(full(path), struct.unpack("<I", data[:4])[0] & 0o7777)
    if inherited is not None and merges(folder):
        inherited.add(path)
    return owned(path, uid, gid)


def unlink(folder, data, uid, gid):
    os.unlink(full(child(folder, data[:-1])))
    return b""


def rmdir(folder, data, uid, gid):
    path = child(folder, data[:-1])
    os.rmdir(full(path))
    (inherited or set()).discard(path)
    return b""


def rename(folder, data, uid, gid, header=8):
    to, = struct.unpack("<Q", data[:8])
    old, new = data[header:].split(b"\0")[:2]
    old, new = child(folder, old), child(paths[to], new)
    os.rename(full(old), full(new))
    moved(old, new)
    return b""


def rename2(folder, data, uid, gid):
    return rename(folder, data, uid, gid, 16)


def link(folder, data, uid, gid):
    first, = struct.unpack("<Q", data[:8])
    path = child(folder, data[8:-1])
    os.link(full(paths[first]), full(path), follow_symlinks=False)
    return entry(path)


def open_(path, data, uid, gid):
    flags, = struct.unpack("<I", data[:4])
    return opened(os.open(full(path), flags & ~(os.O_CREAT | os.O_EXCL | os.O_DIRECT)))


def create(folder, data, uid, gid):
    flags, mode = struct.unpack("<II", data[:8])
    path = child(folder, data[16:-1])
    handle = os.open(full(path), flags & ~os.O_DIRECT | os.O_CREAT, mode & 0o7777)
    return owned(path, uid, gid) + opened(handle)


def read(path, data, uid, gid):
    handle, offset, size = struct.unpack("<QQI", data[:20])
    return os.pread(handles[handle], size, offset)


def write(path, data, uid, gid):
    handle, offset, size = struct.unpack("<QQI", data[:20])
    return struct.pack("<II", os.pwrite(handles[handle], data[40:40 + size], offset), 0)


def statfs(path, data, uid, gid):
    room = os.statvfs(BACKING)
    return struct.pack("<QQQQQIIIIIIIIII", room.f_blocks, room.f_bfree, room.f_bavail, room.f_files, room.f_ffree, room.f_bsize, 255,
                       room.f_frsize, *[0] * 7)


def release(path, data, uid, gid):
    handle = handles.pop(struct.unpack("<Q", data[:8])[0])
    if isinstance(handle, int):
        os.close(handle)
    return b""


def opendir(path, data, uid, gid):
    return opened([b".", b".."] + os.listdir(full(path)))


def readdir(path, data, uid, gid):
    handle, offset, size = struct.unpack("<QQI", data[:20])
    names = b""
    for place, name in enumerate(handles[handle][offset:], offset + 1):
        # The type is asked for by name.
        one = struct.pack("<QQII", place, place, len(name), 0) + name
        one += b"\0" * (-len(one) % 8)
        if len(names) + len(one) > size:
            break
        names += one
    return names


def nothing(path, data, uid, gid):
    return b""


def unsupported(path, data, uid, gid):
    raise OSError(errno.EOPNOTSUPP, "")


def init(path, data, uid, gid):
    return struct.pack("<IIIIHHIIHHI28x", 7, 31, 131072, 0, 16, 12, 131072, 1, 0, 0, 0)


OPERATIONS = {1: lookup, 3: getattr_, 4: setattr_, 5: readlink, 6: symlink, 8: mknod, 9: mkdir, 10: unlink, 11: rmdir, 12: rename, 13: link,
              14: open_, 15: read, 16: write, 17: statfs, 18: release, 20: nothing, 21: unsupported, 22: unsupported, 23: unsupported,
              24: unsupported, 25: nothing, 26: init, 27: opendir, 28: readdir, 29: release, 30: nothing, 35: create, 45: rename2}
WITHOUT_ANSWER = (2, 36, 42)


def answer(request):
    _, code, _, node, uid, gid = struct.unpack("<IIQQII", request[:32])
    try:
        if code not in OPERATIONS:
            raise OSError(errno.ENOSYS, "")
        return 0, OPERATIONS[code](paths.get(node, b""), request[40:], uid, gid)
    except OSError as error:
        return -error.errno, b""


def main():
    os.umask(0)
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"merging", os.fsencode(MOUNT), b"fuse", 0, options.encode()):
        sys.exit(f"cannot mount at {MOUNT}: {os.strerror(ctypes.get_errno())}")
    print("mounted", flush=True)
    while True:
        try:
            request = os.read(device, 1 << 21)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                continue
            raise
        code, = struct.unpack("<I", request[4:8])
        if code in WITHOUT_ANSWER:
            continue
        error, data = answer(request)
        try:
            os.write(device, struct.pack("<IiQ", 16 + len(data), error, struct.unpack("<Q", request[8:16])[0]) + data)
        except OSError as error:
            # Who asked was killed meanwhile.
            if error.errno != errno.ENOENT:
                raise


main()
