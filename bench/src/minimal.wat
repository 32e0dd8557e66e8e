;; The least that a filter in wasm could do for what Usher does: it reads all headers, asks for the time, takes one
;; header out and sets another one. It decides nothing. What Usher costs above it is Usher's; what it costs is the host's.
(module
  (import "env" "proxy_get_header_map_pairs" (func $headers (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_current_time_nanoseconds" (func $time (param i32) (result i32)))
  (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value"
    (func $replace (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 64) "authorization")
  (data (i32.const 96) "user-info")
  ;; A value of 256 bytes, which the text above need not be.
  (func (export "_initialize") (memory.fill (i32.const 1024) (i32.const 0x61) (i32.const 256)))
  (func (export "proxy_abi_version_0_2_1"))
  ;; What the host hands over is never looked at, so that it may all come to one place.
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 65536))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_delete") (param i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $headers (i32.const 0) (i32.const 16) (i32.const 20)))
    (drop (call $time (i32.const 24)))
    (drop (call $remove (i32.const 0) (i32.const 64) (i32.const 13)))
    (drop (call $replace (i32.const 0) (i32.const 96) (i32.const 9) (i32.const 1024) (i32.const 256)))
    (i32.const 0)))
