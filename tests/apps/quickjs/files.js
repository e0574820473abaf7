// tests/apps/quickjs/files.js: a module that imports another one, and files, for tests/apps/quickjs_test.sh.
import * as std from "qjs:std";
import * as os from "qjs:os";
import { twice } from "./lib.js";

console.log(twice(21), scriptArgs.join("|"));
const file = std.open("/work/out.txt", "w+");
file.puts("h\u00e4llo\nzwei\n");
file.seek(0, std.SEEK_SET);
console.log(file.getline(), file.getline(), file.getline(), file.tell());
file.close();
console.log(JSON.stringify(std.loadFile("/work/out.txt")), os.stat("/work/out.txt")[0].size);
console.log(os.mkdir("/work/folder"), os.rename("/work/out.txt", "/work/folder/in.txt"), os.remove("/work/folder") < 0);
console.log(os.readdir("/work")[0].sort().join(" "), os.readdir("/work/folder")[0].sort().join(" "));
console.log(std.open("/work/missing", "r"), std.loadFile("/etc/passwd"));
try {
    null.x;
} catch (e) {
    console.log(e.message);
}
console.log(2n ** 100n, [..."an\u{1f600}"].length, "x".padStart(3, "ab"), /(?<y>\d{4})/.exec("in 2024").groups.y, new Date(0).toISOString());
