# Node 24 is recommended; 20.19 and 22 work too.
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# With the optional packages: the compiler is one of them. The workspace, a fake Stripe, is for tests.
RUN npm ci --workspaces=false
COPY . .
RUN npm run build && npm prune --omit=dev --omit=optional --workspaces=false
# Node loads neither type declarations nor maps: two fifths of the packages.
RUN find node_modules -type f \( -name '*.ts' -o -name '*.mts' -o -name '*.cts' -o -name '*.map' \) -delete
# COPY keeps the modes of the checkout. Under umask 077, only root could read it.
RUN chmod -R a+rX .

FROM node:24-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
RUN ln -s /app/dist/src/cli/sponsor-vouchers.js /usr/local/bin/sponsor-vouchers
# A number, not `node`: Kubernetes checks runAsNonRoot without the image's /etc/passwd.
USER 1000
EXPOSE 3000
# Of a worker without METRICS_PORT, which listens on no port, it says nothing: its heartbeat is in the database.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s CMD ["node", "-e", "const { RUN, PORT, METRICS_PORT } = process.env; const port = RUN === 'work' ? METRICS_PORT : PORT || 3000; port && fetch(`http://127.0.0.1:${port}/livez`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# Not `npm start`: npm would stand between the signals and the process.
CMD ["node", "dist/src/main.js"]
