# The checks that CI runs; each recipe works on its own.

default: check

# everything but the slow suites
check: fmt clippy doc test

fmt:
    cargo fmt --all --check

clippy:
    cargo clippy --workspace --all-targets -- -D warnings

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

test:
    cargo test --workspace

deny:
    cargo deny check

# the figures of README: resident memory and size of an idle edgecore
footprint:
    .ci/footprint
