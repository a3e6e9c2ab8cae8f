//! Commands that KubeEdge's keadm has and this one has not, and what to do instead.

use beehive::section::nearest;

/// What there is, for suggestions.
const KNOWN: [&str; 10] =
    ["up", "init", "join", "gettoken", "reset", "doctor", "config", "version", "config-update", "migrate"];

const STRANGERS: [(&str, &str); 9] = [
    ("manifest", "there is no Helm chart in keadm; what would be installed: keadm init --dry-run"),
    ("batch", "run keadm join on each node, such as with ssh in a loop"),
    (
        "upgrade",
        "replace the programs keadm, cloudcore and edgecore, and restart the services: pods go on meanwhile",
    ),
    ("backup", "copy /etc/kubeedge and /var/lib/kubeedge while the service is stopped"),
    ("rollback", "put the earlier programs back, and restart the services"),
    ("debug", "keadm doctor says what is wrong with a machine, and what to do"),
    ("ctl", "kubectl does this on the cloud's side; on the node, crictl shows what runs"),
    ("beta", "keadm has no commands in testing"),
    ("deprecated", "write the same without the word deprecated, such as keadm join"),
];

/// Says what to do instead of a command that there is not.
pub(crate) fn instead(words: &[String]) -> String {
    let Some((name, rest)) = words.split_first() else {
        return "give a command; keadm --help lists them".to_owned();
    };
    if matches!(name.as_str(), "deprecated" | "beta")
        && let Some(same) = rest.first().filter(|word| KNOWN.contains(&word.as_str()))
    {
        // Not all of the line: it may hold a token.
        return format!(
            "keadm {name} {same} is keadm {same} here; the flags are the same, but for what keadm {same} --help says"
        );
    }
    if let Some((_, todo)) = STRANGERS.iter().find(|(stranger, _)| stranger == name) {
        return format!("keadm {name} is a command of KubeEdge's keadm only: {todo}");
    }
    match nearest(name, KNOWN) {
        Some(near) => format!("there is no command {name:?}; did you mean keadm {near}?"),
        None => format!("there is no command {name:?}; keadm --help lists them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_kubeedge_is_here_or_said_what_to_do_instead_of() {
        let theirs = [
            "init",
            "manifest",
            "gettoken",
            "join",
            "batch",
            "reset",
            "upgrade",
            "backup",
            "rollback",
            "config-update",
            "config",
            "version",
            "debug",
            "ctl",
            "deprecated",
            "beta",
        ];
        for name in theirs {
            let known = KNOWN.contains(&name);
            let told = instead(&[name.to_owned()]);
            assert!(known || told.contains("KubeEdge's keadm only"), "{name}: {told}");
        }
    }

    #[test]
    fn a_word_before_the_command_is_left_out_and_no_flag_is_repeated() {
        let line = ["beta", "join", "--token=hunter2"].map(str::to_owned);
        let told = instead(&line);
        assert!(told.starts_with("keadm beta join is keadm join here"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
        assert_eq!(instead(&["jion".to_owned()]), r#"there is no command "jion"; did you mean keadm join?"#);
        assert_eq!(instead(&["xyzzy".to_owned()]), r#"there is no command "xyzzy"; keadm --help lists them"#);
    }
}
