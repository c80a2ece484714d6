// The SQL that does the same, to be learnt from.

const literal = (text) => (text.includes('\\') ? ` E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'` : `'${text.replaceAll("'", "''")}'`);

export const watchSQL = {
  watch({ table, topic, event, key, columns, read }) {
    const parts = [literal(table)];
    if (topic) parts.push(`topic => ${literal(topic)}`);
    if (event) parts.push(`event => ${literal(event)}`);
    if (key) parts.push(`key => ${literal(key)}`);
    if (columns) parts.push(`columns => array[${columns.map(literal).join(', ')}]`);
    if (read && read !== 'signed_in') parts.push(`read => ${literal(read)}`);
    return `select tidings.watch(${parts.join(', ')});`;
  },
  unwatch: (table) => `select tidings.unwatch(${literal(table)});`,
  firstAdmin: (username) => `update users set role = 'admin' where username = ${literal(username)};`,
};
