// npm packs no symbolic links: of those that PostgreSQL's libraries need, the packages have lists, by which they are made here.
import { existsSync, readFileSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';

for (const version of Object.keys(JSON.parse(readFileSync('package.json', 'utf8')).dependencies)) {
  const at = join('node_modules', version);
  for (const { source, target } of JSON.parse(readFileSync(join(at, 'native/pg-symlinks.json'), 'utf8'))) {
    if (!existsSync(join(at, target))) symlinkSync(basename(source), join(at, target));
  }
}
