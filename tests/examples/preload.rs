//! A library that leaves a witness when it is loaded, at the path in the variable `PRELOAD_WITNESS`.

/// Called by the loader, before the program.
#[used]
#[expect(unsafe_code, reason = "there is no safe way to be called at loading")]
// SAFETY: the section holds pointers to functions of this type.
#[unsafe(link_section = ".init_array")]
static LOADED: extern "C" fn() = loaded;

extern "C" fn loaded() {
    if let Ok(path) = std::env::var("PRELOAD_WITNESS") {
        // There is nobody to tell.
        let _ = tests::fixture::leave_witness(&path, "preload");
    }
}
