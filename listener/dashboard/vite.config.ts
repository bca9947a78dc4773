import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { defineConfig } from "vite";

const root = fileURLToPath(new URL(".", import.meta.url));

/** `vite build listener/dashboard`: the page, into `dist/` beside this file. For browsers of the last two years. */
export default defineConfig({
  root,
  base: "./",
  logLevel: "warn",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  plugins: [{ name: "compress", closeBundle: () => compress(join(root, "dist", "assets")) }],
  build: {
    target: ["chrome125", "firefox128", "safari17.5"],
    outDir: "dist",
    emptyOutDir: true,
    // A `data:` URL would need a wider content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: { checks: { pluginTimings: false } },
  },
});

/** The server sends what lies compressed beside a file to whoever takes it. */
function compress(folder: string): void {
  for (const name of readdirSync(folder).filter(each => !/\.(?:gz|br)$/.test(each))) {
    const content = readFileSync(join(folder, name));
    writeFileSync(join(folder, `${name}.gz`), gzipSync(content, { level: 9 }));
    writeFileSync(join(folder, `${name}.br`), brotliCompressSync(content));
  }
}
