import { fileURLToPath } from 'node:url'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

const root = fileURLToPath(new URL('.', import.meta.url))

/** The pages of the service: each is an application of its own, with what they share in common chunks. */
const PAGES = ['portal', 'console', 'sign-in']

// vite expects a default export.
// oxlint-disable-next-line import/no-default-export
export default defineConfig({
  root,
  plugins: [react()],
  build: {
    outDir: `${root}../dist/web`,
    emptyOutDir: true,
    target: 'es2022',
    // Names of other files go into the pages, so a page never loads a file of another release.
    rolldownOptions: {
      input: Object.fromEntries(PAGES.map((name) => [name, `${root}${name}.html`])),
    },
    // The policy of the pages allows no `data:` script, and few things are that small.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  // `npm run web:dev`: pages from here, the API from a running service.
  server: {
    port: 5173,
    proxy: { '/v1': { target: 'http://127.0.0.1:3000', changeOrigin: false } },
  },
})
