// tests/apps/treesitter/parse.mjs PARSER.js GRAMMAR.wasm: prints the tree of the text on standard input, by the program's own loader.
import fs from "node:fs";
import path from "node:path";

const { Parser, Language } = await import(path.resolve(process.argv[2]));
await Parser.init();
const parser = new Parser();
parser.setLanguage(await Language.load(path.resolve(process.argv[3])));
process.stdout.write(parser.parse(fs.readFileSync(0, "latin1")).rootNode.toString());
