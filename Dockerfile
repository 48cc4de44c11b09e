# The gateway, compiled in one stage and run in another that has neither compiler nor development dependencies.
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# Without scripts, for "prepare" compiles and the sources are not here yet; native modules come prebuilt.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
RUN npx tsc && node console/build.js && chmod +x dist/cli/ledgerline.js && npm prune --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:24-bookworm-slim
ENV NODE_ENV=production LEDGERLINE_HOST=0.0.0.0 LEDGERLINE_DATA=/data
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/schemas ./schemas
COPY --from=build /app/dist ./dist
# Only the data directory is the user's own: node, 1000, whom Kubernetes wants by number.
RUN ln -s /app/dist/cli/ledgerline.js /usr/local/bin/ledgerline && install -d -o node -g node -m 0700 /data
USER 1000:1000
VOLUME /data
EXPOSE 8080 9100
# Alive is what it asks; whether to send traffic, /readyz says.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.LEDGERLINE_HTTP_PORT || 8080}/healthz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["ledgerline"]
CMD ["start"]
