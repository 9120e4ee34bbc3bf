#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Builds the program in consumer/ as users do, with one compiler: with weft as a Meson subproject, and, after `meson install`
into a prefix of its own, through pkg-config and CMake, shared and static. Output: Test Anything Protocol.

Usage: check.py SOURCE_ROOT WORK_DIR COMPILER...
What is built in WORK_DIR stays there, so that a second run is quick; the prefix is made anew.
"""
from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

source_root = pathlib.Path(sys.argv[1])
work = pathlib.Path(sys.argv[2])
compiler = sys.argv[3:]
consumer = work / "consumer"
prefix = work / "prefix"
libdir = prefix / "lib"
environment = dict(os.environ, CXX=" ".join(compiler), PKG_CONFIG_PATH=str(libdir / "pkgconfig"))
for name in ("DESTDIR", "CXXFLAGS", "LDFLAGS", "MAKEFLAGS"):
    environment.pop(name, None)
number = 0
failures = 0


class Failed(Exception):
    pass


def run(*command: object, **extra: str) -> str:
    done = subprocess.run([str(c) for c in command], cwd=work, env=environment | extra, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500)
    if done.returncode != 0:
        raise Failed(f"$ {' '.join(map(str, command))}\nstatus {done.returncode}\n{done.stdout}")
    return done.stdout


def expect(true: bool, otherwise: str) -> None:
    if not true:
        raise Failed(otherwise)


def check(what: str, action) -> bool:
    global number, failures
    number += 1
    try:
        reason = action()
    except Failed as failure:
        failures += 1
        print(f"not ok {number} - {what}")
        print("\n".join("# " + line for line in str(failure).split("\n")), flush=True)
        return False
    print(f"ok {number} - {what}" + (f" # SKIP {reason}" if reason else ""), flush=True)
    return True


def needed(program: pathlib.Path) -> str:
    return run("readelf", "-d", program)


def subproject() -> None:
    shutil.rmtree(consumer, ignore_errors=True)
    shutil.copytree(source_root / "tests" / "install" / "consumer", consumer)
    (consumer / "subprojects").mkdir()
    (consumer / "subprojects" / "weft").symlink_to(source_root)
    (consumer / "subprojects" / "weft.wrap").write_text(
        "[wrap-file]\ndirectory = weft\n\n[provide]\ndependency_names = weft\n")
    build = work / "build"
    options = [f"--prefix={prefix}", "--libdir=lib", "-Doptimization=0", "-Ddebug=false", "--force-fallback-for=weft",
               "-Dweft:default_library=both", "-Dweft:single_unit=true"]
    if (build / "build.ninja").exists():
        run("meson", "setup", "--reconfigure", *options, build, consumer)
    else:
        shutil.rmtree(build, ignore_errors=True)
        run("meson", "setup", *options, build, consumer)
    run("ninja", "-C", build, "-j2")
    expect(run(build / "consumer") == "42\n", "the program didn't say 42")


def install() -> None:
    shutil.rmtree(prefix, ignore_errors=True)
    run("meson", "install", "-C", work / "build", "--no-rebuild")
    for name in ("lib/libweft.a", "lib/libweft.so", "lib/pkgconfig/weft.pc", "lib/cmake/weft/weftConfig.cmake",
                 "lib/cmake/weft/weftConfigVersion.cmake", "include/weft/runtime/task.hpp"):
        expect((prefix / name).exists(), f"{name} isn't installed")
    private = [str(p) for p in (prefix / "include").rglob("*") if "impl" in p.parts]
    expect(not private, f"installed, but not for users: {private}")


def exports() -> None:
    names = run("nm", "-DC", "--defined-only", libdir / "libweft.so").splitlines()
    expect(any("weft::" in n for n in names), "nothing of weft is exported")
    strangers = [n for n in names if "weft::" not in n]
    expect(not strangers, "exported besides weft's own:\n" + "\n".join(strangers))


def pkg_config(static: bool) -> None:
    flags = run("pkg-config", "--cflags", "--libs", *(["--static"] if static else []), "weft").split()
    if static:
        at = flags.index("-lweft")
        flags[at:at + 1] = ["-Wl,-Bstatic", "-lweft", "-Wl,-Bdynamic"]
    program = work / ("pkg_config_static" if static else "pkg_config_shared")
    run(*compiler, "-std=c++20", consumer / "main.cpp", "-o", program, *flags)
    expect(("libweft.so" in needed(program)) != static, "linked with the other form of the library")
    expect(run(program, LD_LIBRARY_PATH=str(libdir)) == "42\n", "the program didn't say 42")


def cmake(form: str) -> str | None:
    if shutil.which("cmake") is None:
        return "no cmake here"
    build = work / f"cmake_{form or 'default'}"
    shutil.rmtree(build, ignore_errors=True)
    # A compiler behind ccache is two words; CMake takes the first as launcher.
    launcher = [f"-DCMAKE_CXX_COMPILER_LAUNCHER={compiler[0]}"] if len(compiler) > 1 else []
    run("cmake", "-S", consumer, "-B", build, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}", f"-DFORM={form}",
        f"-DCMAKE_CXX_COMPILER={compiler[-1]}", *launcher, CXX=compiler[-1])
    run("cmake", "--build", build)
    expect(("libweft.so" in needed(build / "consumer")) != (form == "static"), "linked with the other form of the library")
    expect(run(build / "consumer") == "42\n", "the program didn't say 42")
    return None


work.mkdir(parents=True, exist_ok=True)
if check("as a Meson subproject", subproject) and check("meson install", install):
    check("the shared library exports weft's names alone", exports)
    check("pkg-config, shared", lambda: pkg_config(False))
    check("pkg-config, static", lambda: pkg_config(True))
    check("CMake, by default", lambda: cmake(""))
    check("CMake, shared", lambda: cmake("shared"))
    check("CMake, static", lambda: cmake("static"))
print(f"1..{number}")
sys.exit(1 if failures else 0)
