"""Makes a module small with Binaryen's library: tools/optimize.py LIBRARY MODULE EXPORTS OUTPUT NAMED

Of the exports those stay that the file EXPORTS names, and of the code what they reach. Where a line has a second name, the
function that is exported by that one stands behind the first. NAMED becomes the same module with the names of its functions,
where MODULE has them.
"""

import ctypes
import sys

# A function that is called once and is large stays one: the host's compiler spends more on one of 38 KB than on its
# parts, and on one core alone.
ONE_CALLER_INLINE_MAX_SIZE = 400
# What rustc enables for wasm32-wasip1; the module is stripped and so does not say so itself.
FEATURES = ["BulkMemory", "Multivalue", "MutableGlobals", "NontrappingFPToInt", "ReferenceTypes", "SignExt"]


class Written(ctypes.Structure):
    _fields_ = [("binary", ctypes.c_void_p), ("size", ctypes.c_size_t), ("source_map", ctypes.c_void_p)]


library, source, listed, output, named = sys.argv[1:]
binaryen = ctypes.CDLL(library)


def call(name, *arguments, returns=None):
    function = getattr(binaryen, "Binaryen" + name)
    function.restype = returns
    return function(*arguments)


def run(module, *passes):
    names = (ctypes.c_char_p * len(passes))(*[name.encode() for name in passes])
    call("ModuleRunPasses", module, names, ctypes.c_uint32(len(passes)))


def write(module, path):
    written = call("ModuleAllocateAndWrite", module, None, returns=Written)
    with open(path, "wb") as file:
        file.write(ctypes.string_at(written.binary, written.size))


with open(listed, encoding="utf-8") as lines:
    # The names that stay, each with the one that the compiler has exported its function by.
    wanted = {words[0]: words[-1] for words in map(str.split, lines) if words and not words[0].startswith("#")}
with open(source, "rb") as file:
    data = file.read()
module = ctypes.c_void_p(call("ModuleRead", data, ctypes.c_size_t(len(data)), returns=ctypes.c_void_p))

exports = {}
for index in range(call("GetNumExports", module, returns=ctypes.c_uint32)):
    export = ctypes.c_void_p(call("GetExportByIndex", module, ctypes.c_uint32(index), returns=ctypes.c_void_p))
    name = call("ExportGetName", export, returns=ctypes.c_char_p).decode()
    exports[name] = call("ExportGetValue", export, returns=ctypes.c_char_p)
lacking = (set(wanted) | set(wanted.values())) - set(exports)
if lacking:
    sys.exit(f"optimize: {source} does not export {', '.join(sorted(lacking))}, which {listed} names")
for name in exports:
    if wanted.get(name) != name:
        call("RemoveExport", module, name.encode())
for name, function in wanted.items():
    if name != function:
        call("AddFunctionExport", module, exports[function], name.encode(), returns=ctypes.c_void_p)

features = 0
for name in FEATURES:
    features |= call("Feature" + name, returns=ctypes.c_uint32)
call("ModuleSetFeatures", module, ctypes.c_uint32(features))
# -Oz
call("SetOptimizeLevel", 2)
call("SetShrinkLevel", 2)
call("SetOneCallerInlineMaxSize", ctypes.c_uint32(ONE_CALLER_INLINE_MAX_SIZE))
run(module, "remove-unused-module-elements")
call("ModuleOptimize", module)
# Names are written with debug information alone.
call("SetDebugInfo", ctypes.c_bool(True))
write(module, named)
call("SetDebugInfo", ctypes.c_bool(False))
run(module, "strip-debug", "strip-producers", "strip-target-features")
if not call("ModuleValidate", module, returns=ctypes.c_bool):
    sys.exit("optimize: what came out is no valid module")
write(module, output)
