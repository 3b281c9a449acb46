//! How right the rules are, on public data: `cargo bench --bench accuracy -- SET [--data DIR] [--scores OUT]`.

mod petshop;

fn main() {
    let arguments = std::env::args().skip(1).filter(|it| it != "--bench").collect::<Vec<_>>();
    let option = |name: &str| {
        let at = arguments.iter().position(|it| it == name)?;
        arguments.get(at + 1).map(std::path::PathBuf::from)
    };
    let (data, scores) = (option("--data"), option("--scores"));
    match arguments.first().map(String::as_str) {
        Some("petshop") => petshop::run(data.as_deref(), scores.as_deref()),
        _ => println!("which set? cargo bench --bench accuracy -- petshop --data DIR [--scores OUT]"),
    }
}
