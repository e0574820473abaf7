// A guest in Rust: makes a table of words first, then reads a line from standard input and answers with the words that have the same
// letters.
use std::collections::HashMap;

fn key(word: &str) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort();
    letters.into_iter().collect()
}

// All words of a few syllables.
fn table() -> HashMap<String, Vec<String>> {
    let syllables = ["ba", "ce", "di", "fo", "gu", "la", "me", "ni", "ro", "su"];
    let mut level = vec![String::new()];
    let mut rows: HashMap<String, Vec<String>> = HashMap::new();
    for _ in 0..4 {
        level = level.iter().flat_map(|word| syllables.iter().map(move |syllable| word.clone() + syllable)).collect();
        for word in &level {
            rows.entry(key(word)).or_default().push(word.clone());
        }
    }
    rows
}

fn main() {
    let rows = table();
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line).unwrap_or(0) == 0 {
        eprintln!("no line");
        std::process::exit(3);
    }
    println!("{} {:?}", rows.len(), rows.get(&key(line.trim())).unwrap_or(&Vec::new()));
}
