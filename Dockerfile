# Node 24 is recommended; 20.19 and 22 work too.
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# With the optional packages: the compiler is one of them. The workspace, a fake Stripe, is for tests.
RUN npm ci --workspaces=false
COPY . .
RUN npm run build && npm prune --omit=dev --omit=optional --workspaces=false

FROM node:24-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
RUN chmod 755 dist/src/cli/sponsor-vouchers.js && ln -s /app/dist/src/cli/sponsor-vouchers.js /usr/local/bin/sponsor-vouchers
USER node
EXPOSE 3000
# Not `npm start`: npm would stand between the signals and the process.
CMD ["node", "dist/src/main.js"]
