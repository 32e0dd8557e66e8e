//! `usher convert`: from Istio's manifests or Envoy's filters to Usher, and back.

use std::io::Write;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use usher_verbs::convert::{self, Home, Manifest, Mesh, Notes, Ports, Weight, Workload};
use usher_verbs::report::Problem;
use usher_verbs::{input, load, output};

use super::Format;
use crate::style::{BAD, FAINT, one_line};
use crate::{Exit, read, report, style};

/// Converts Istio's manifests or Envoy's filters to WasmPlugins, and WasmPlugins to Istio's manifests
///
/// The files hold RequestAuthentications and AuthorizationPolicies, also as lists from `kubectl get -o
/// yaml`, and preferably the workloads (Deployments, StatefulSets, DaemonSets, Pods): each gets the
/// policies that istiod would give it. Or they hold an Envoy configuration with `jwt_authn` and `rbac`.
/// What cannot be carried over is reported on standard error, with exit status 2, and then no plugin is
/// printed: half of a migration would allow what the whole denies. `--to istio` prints the rest.
///
/// A plugin does not see traffic other than HTTP. Where Istio's policies deny that, an AuthorizationPolicy
/// whose name ends in `-http-only` is printed beside the plugin and still denies it: apply it too, and keep
/// it. `--http-only` omits it, where all traffic is HTTP.
#[derive(Args)]
pub(crate) struct Arguments {
    /// YAML or JSON files, or folders of them; `-` for standard input
    #[arg(required = true, value_name = "F")]
    files: Vec<String>,
    /// The output
    #[arg(long, value_enum, default_value_t)]
    to: To,
    /// The root namespace, whose policies apply to the whole mesh
    #[arg(long, value_name = "NS", default_value = "istio-system")]
    root_namespace: String,
    /// A workload that no file has: its namespace and its labels
    #[arg(long, value_name = "NS/KEY=VALUE,..")]
    workload: Vec<String>,
    /// The same for a gateway, whose plugin has no `match`
    #[arg(long, value_name = "NS/KEY=VALUE,..")]
    gateway: Vec<String>,
    /// `url` of the WasmPlugins; default: a placeholder
    #[arg(long)]
    url: Option<String>,
    /// The mesh's trust domain, then its aliases; default: cluster.local
    #[arg(long, value_name = "TD")]
    trust_domain: Vec<String>,
    /// The mesh's path normalization; default: BASE
    #[arg(long, value_name = "MODE")]
    path_normalization: Option<String>,
    /// All traffic of the workloads is HTTP, so that no policy for other traffic is needed
    #[arg(long)]
    http_only: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum To {
    /// WasmPlugins
    #[default]
    Usher,
    /// RequestAuthentications and AuthorizationPolicies
    Istio,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut notes = Notes::default();
    let converted = match arguments.to {
        To::Usher => to_usher(arguments, &mut notes)?,
        To::Istio => to_istio(arguments, &mut notes)?,
    };
    let manifests = match converted {
        Ok(manifests) => manifests,
        Err(problems) => {
            report::write(&problems, arguments.format, out, &mut style::stderr())?;
            return Ok(Exit::Invalid);
        }
    };
    if manifests.is_empty() && notes.is_whole() {
        write_notes(&notes, &mut style::stderr())?;
        bail!("nothing to convert");
    }
    // Half of a migration lets callers in too: the policies left behind find no token.
    let printed = notes.is_whole() || arguments.to == To::Istio;
    if printed {
        write_manifests(&manifests, arguments.format, out)?;
        out.flush()?;
    }
    let errors = &mut style::stderr();
    write_notes(&notes, errors)?;
    if !printed {
        writeln!(
            errors,
            "{BAD}nothing is printed:{BAD:#} a part would let in whom the whole refuses"
        )?;
    }
    Ok(if notes.is_whole() { Exit::Yes } else { Exit::No })
}

type Converted = Result<Vec<Manifest>, Vec<Problem>>;

fn to_usher(arguments: &Arguments, notes: &mut Notes) -> anyhow::Result<Converted> {
    let mut problems = Vec::new();
    let mut files = Vec::new();
    for file in &read::names(&arguments.files)? {
        match input::documents(&read::text(file)?) {
            Ok(documents) => files.push((file.clone(), documents)),
            Err(unreadable) => problems.push(Problem::unreadable(file, unreadable)),
        }
    }
    // Of a wrong file and a wrong option the file is reported.
    let (workloads, wrong) = match workloads(arguments) {
        Ok(workloads) => (workloads, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let mesh = Mesh {
        root_namespace: arguments.root_namespace.clone(),
        trust_domains: arguments.trust_domain.clone(),
        path_normalization: arguments.path_normalization.clone(),
        workloads,
        ports: if arguments.http_only { Ports::Http } else { Ports::Any },
        url: arguments.url.clone(),
    };
    match convert::to_usher(&files, mesh, notes) {
        Ok(manifests) if problems.is_empty() => wrong.map_or(Ok(Ok(manifests)), Err),
        Ok(_) => Ok(Err(problems)),
        Err(more) => Ok(Err(problems.into_iter().chain(more).collect())),
    }
}

/// The workloads of the options, each with the option that named it.
fn workloads(arguments: &Arguments) -> anyhow::Result<Vec<(String, Workload)>> {
    let workloads = arguments.workload.iter().map(|text| ("workload", text));
    let gateways = arguments.gateway.iter().map(|text| ("gateway", text));
    let named = workloads.chain(gateways).map(|(option, text)| {
        let form = || format!("expected `namespace/key=value,..` for --{option}, found `{text}`");
        let mut named = Workload::of(text).with_context(form)?;
        named.gateway |= option == "gateway";
        Ok((format!("--{option} {text}"), named))
    });
    named.collect()
}

fn to_istio(arguments: &Arguments, notes: &mut Notes) -> anyhow::Result<Converted> {
    let mut manifests = Vec::new();
    let mut problems = Vec::new();
    for file in &read::names(&arguments.files)? {
        let source = match load::find(&read::file(file)?, None)? {
            Ok(source) => source,
            Err(found) => {
                problems.extend(found);
                continue;
            }
        };
        let policy = match source.read() {
            Ok(policy) => policy,
            Err(found) => {
                problems.extend(found);
                continue;
            }
        };
        let (normalization, trust_domains) =
            (arguments.path_normalization.clone(), arguments.trust_domain.clone());
        let home = Home::of(&source, normalization, trust_domains);
        let config = source.value();
        manifests.extend(convert::to_istio(config, policy.settings.missing_token, &home, notes));
    }
    Ok(if problems.is_empty() { Ok(manifests) } else { Err(problems) })
}

fn write_manifests(
    manifests: &[Manifest],
    format: Format,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    if format == Format::Json {
        for manifest in manifests {
            writeln!(out, "{}", manifest.value)?;
        }
        return Ok(());
    }
    // All of them before the first is written: a part would let in callers whom the whole refuses.
    let texts = manifests.iter().map(|manifest| output::yaml(&manifest.value));
    let texts: Vec<String> = texts.collect::<Result<_, _>>().map_err(std::io::Error::other)?;
    for (index, (manifest, text)) in manifests.iter().zip(texts).enumerate() {
        if index > 0 {
            writeln!(out, "---")?;
        }
        for line in &manifest.comment {
            writeln!(out, "# {}", one_line(line))?;
        }
        write!(out, "{text}")?;
    }
    Ok(())
}

fn write_notes(notes: &Notes, errors: &mut dyn Write) -> std::io::Result<()> {
    for note in &notes.0 {
        let (place, text) = (one_line(&note.place), one_line(&note.text));
        match note.weight {
            Weight::Lost => writeln!(errors, "{BAD}not carried over:{BAD:#} {place}: {text}")?,
            Weight::Advice => writeln!(errors, "{FAINT}note:{FAINT:#} {place}: {text}")?,
        }
    }
    errors.flush()
}
