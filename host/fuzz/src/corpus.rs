//! Inputs in a folder: reading them, keeping new ones, finding those that say nothing new.

use crate::{FuzzError, Runner};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// What the name of a file starts with that is being written.
const UNFINISHED: &str = ".wrr-unfinished-";

/// The name of an input's file: what it holds.
pub(crate) fn name_of(input: &[u8]) -> String {
    blake3::hash(input).to_hex()[..16].to_owned()
}

/// Writes a file that is either there as a whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // For all who may read what this user makes.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.prefix(UNFINISHED).tempfile_in(dir)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Puts an input into a folder, under the name of what it holds.
pub(crate) fn keep(dir: &Path, input: &[u8]) -> Result<(), FuzzError> {
    let path = dir.join(name_of(input));
    if path.exists() {
        return Ok(());
    }
    write_whole(&path, input).map_err(FuzzError::file("write", path))
}

/// Sees that files can be made in a folder.
pub(crate) fn check_writable(dir: &Path) -> Result<(), FuzzError> {
    let made = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(dir);
    made.map(drop).map_err(FuzzError::file("make files in", dir))
}

/// The inputs of a folder of up to so many bytes, by path: what is in folders inside of it does not count, nor what is no file.
pub(crate) fn inputs_in(dir: &Path, most: u64) -> Result<Vec<(PathBuf, Vec<u8>)>, FuzzError> {
    let action = "read the input (take it out of the corpus if it is none)";
    let mut paths = Vec::new();
    let entries = std::fs::read_dir(dir).map_err(FuzzError::file("read the corpus", dir))?;
    for entry in entries {
        let path = entry.map_err(FuzzError::file("read the corpus", dir))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let is_ours = name.is_none_or(|name| !name.starts_with('.'));
        if !is_ours {
            continue;
        }
        match std::fs::metadata(&path) {
            Ok(metadata) if !metadata.is_file() => {}
            Ok(metadata) if metadata.len() > most => {
                let (name, len) = (path.display(), metadata.len());
                tracing::warn!(
                    "{name} has {len} bytes; the most is {most} (--max-len), and it is left out"
                );
            }
            Ok(_) => paths.push(path),
            Err(error) => return Err(FuzzError::File { action, path, error }),
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| match std::fs::read(&path) {
            Ok(input) => Ok((path, input)),
            Err(error) => Err(FuzzError::File { action, path, error }),
        })
        .collect()
}

/// What [`minimize_corpus`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinimizedCorpus {
    /// How many inputs there were.
    pub before: usize,
    /// How many of them are left.
    pub kept: usize,
    /// How many outcomes of decisions, told apart by how often they came, the corpus has.
    pub features: usize,
    /// How many inputs fail, and so were taken out as well.
    pub failing: usize,
}

/// Where the classes of counts begin. Each is about a quarter larger than the one before, so that what is repeated a little more often is
/// something new: AFL's double.
const CLASS_STARTS: [u8; 21] =
    [1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 160, 200];

/// The class of a count: equal ones are the same feature.
pub(crate) const fn class(count: u8) -> u8 {
    let mut class = 0;
    while class < CLASS_STARTS.len() && CLASS_STARTS[class] <= count {
        class += 1;
    }
    class as u8
}

/// Moves every input of a folder that shows nothing that smaller ones do not show to `aside`. `on_run` is told of each input.
///
/// # Errors
/// The folder cannot be read, `aside` cannot be made, a file cannot be moved.
pub fn minimize_corpus(
    runner: &mut Runner,
    dir: &Path,
    aside: &Path,
    on_run: &mut dyn FnMut(),
) -> Result<MinimizedCorpus, FuzzError> {
    let most = runner.target().options().input_bytes_max;
    let mut inputs = inputs_in(dir, u64::from(most))?;
    // The smallest first, so that who shows something first is the smallest that does.
    inputs.sort_by(|(path, one), (other_path, other)| {
        (one.len(), path).cmp(&(other.len(), other_path))
    });
    let mut first: HashMap<(u32, u8), usize> = HashMap::new();
    let mut shown: Vec<Vec<(u32, u8)>> = Vec::with_capacity(inputs.len());
    let mut failing = BTreeSet::new();
    for (number, (_, input)) in inputs.iter().enumerate() {
        let run = runner.run(input)?;
        let counts = runner.counts()?;
        let mut features = Vec::new();
        for (counter, count) in counts.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            features.push((counter as u32, class(*count)));
            *count = 0;
        }
        match run.failure {
            Some(_) => {
                failing.insert(number);
                features.clear();
            }
            None => features.iter().for_each(|feature| {
                first.entry(*feature).or_insert(number);
            }),
        }
        shown.push(features);
        on_run();
    }
    // The largest first: what it is needed for may bring much with it.
    let mut covered: BTreeSet<(u32, u8)> = BTreeSet::new();
    let mut kept = BTreeSet::new();
    let mut wanted: Vec<_> = first.iter().collect();
    wanted.sort_unstable_by_key(|(feature, number)| (std::cmp::Reverse(**number), **feature));
    for (feature, number) in wanted {
        if !covered.contains(feature) {
            kept.insert(*number);
            covered.extend(shown[*number].iter().copied());
        }
    }
    let gone: Vec<&PathBuf> = inputs
        .iter()
        .enumerate()
        .filter(|(number, _)| !kept.contains(number))
        .map(|(_, (path, _))| path)
        .collect();
    if !gone.is_empty() {
        std::fs::create_dir_all(aside).map_err(FuzzError::file("create", aside))?;
    }
    for path in gone {
        let Some(name) = path.file_name() else { continue };
        let to = aside.join(name);
        std::fs::rename(path, &to).map_err(FuzzError::file("move an input to", to))?;
    }
    Ok(MinimizedCorpus {
        before: inputs.len(),
        kept: kept.len(),
        features: first.len(),
        failing: failing.len(),
    })
}
