// tests/apps/yosys/unpack.mjs RESOURCES FOLDER: writes the files that a resource module of a YoWASP package holds as text or names.
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
const write = (folder, tree) => {
    fs.mkdirSync(folder, { recursive: true });
    for (const [name, what] of Object.entries(tree)) {
        const file = path.join(folder, name);
        if (typeof what === 'string') fs.writeFileSync(file, what);
        else if (what instanceof URL) fs.copyFileSync(what, file);
        else write(file, what);
    }
};
write(process.argv[3], (await import(pathToFileURL(process.argv[2]))).filesystem);
