//! The build steps that most builders are made of. Each is a file of its own, with its schema.
//!
//! - programs on the worker: `shell_command`, `shell_sequence`, `configure`, `compile`, `test`, on `shell` (their
//!   arguments), `remote` (the command) and `warnings`; `set_property_from_command`
//! - test results: `junit` (on `junit_xml` and `xml`), `pytest`, `cargo_test` (on `libtest`), all on `tally`
//! - source: `git`
//! - files on the worker: `file_exists`, `make_directory`, `remove_directory`, `copy_directory`; `paths` for all steps
//! - files to the master and from it: `uploads`, `downloads`, on `transfer`
//! - other builds: `trigger`
//! - on the master alone: `set_property`, `assert`, `log_renderable`

mod assert;
mod cargo_test;
mod compile;
mod configure;
mod copy_directory;
mod downloads;
mod file_exists;
mod git;
mod http_request;
mod judge;
mod junit;
mod junit_xml;
mod libtest;
mod log_renderable;
mod make_directory;
mod master_shell_command;
mod paths;
mod pytest;
mod remote;
mod remove_directory;
mod set_property;
mod set_property_from_command;
mod shell;
mod shell_command;
mod shell_sequence;
mod tally;
mod test;
mod transfer;
mod trigger;
mod uploads;
mod warnings;
mod xml;

windlass_sdk::export!(
    build_step:
        assert::Assert,
        cargo_test::CargoTest,
        compile::Compile,
        configure::Configure,
        copy_directory::CopyDirectory,
        downloads::FileDownload,
        downloads::JsonPropertiesDownload,
        downloads::StringDownload,
        file_exists::FileExists,
        git::Git,
        http_request::HttpRequest,
        junit::Junit,
        log_renderable::LogRenderable,
        make_directory::MakeDirectory,
        master_shell_command::MasterShellCommand,
        pytest::Pytest,
        remove_directory::RemoveDirectory,
        set_property::SetProperty,
        set_property_from_command::SetPropertyFromCommand,
        shell_command::ShellCommand,
        shell_sequence::ShellSequence,
        test::Test,
        trigger::Trigger,
        uploads::DirectoryUpload,
        uploads::FileUpload,
        uploads::MultipleFileUpload,
);
