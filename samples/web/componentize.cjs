// usage: node componentize.cjs CORE.wasm WORLD.wit OUT.wasm — embeds the world in a core module and makes it a component.
const { readFile, writeFile } = require('node:fs/promises');

async function main([core, wit, out]) {
  const { componentEmbed, componentNew } = await import(require.resolve('@bytecodealliance/jco'));
  const witSource = await readFile(wit, 'utf8');
  const binary = await readFile(core);
  const embedded = await componentEmbed({ binary, witSource, worldName: 'web', stringEncoding: 'utf8' });
  await writeFile(out, await componentNew(embedded, []));
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
