// A guest in Rust: counts the lines, words and bytes of its standard input, with the standard library.
use std::collections::HashMap;
use std::io::Read;

fn main() {
    let mut text = String::new();
    if let Err(error) = std::io::stdin().read_to_string(&mut text) {
        eprintln!("words: {}", error);
        std::process::exit(1);
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for word in text.split_whitespace() {
        *counts.entry(word).or_insert(0) += 1;
    }
    let mut ranking: Vec<(&str, usize)> = counts.into_iter().collect();
    ranking.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    println!("{} lines, {} words, {} bytes", text.lines().count(), text.split_whitespace().count(), text.len());
    for (word, count) in ranking.iter().take(3) {
        println!("{:5} {}", count, word);
    }
    for (number, argument) in std::env::args().enumerate().skip(1) {
        println!("argument {}: {}", number, argument);
    }
}
