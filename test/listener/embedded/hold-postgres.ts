/** Opens the local database of the directory that is given, prints what it got, and closes it on SIGTERM. SIGINT only ends the waiting of others. */
const { openPostgres } = await import(process.argv[3] ?? "../../../listener/embedded/postgres.ts");

const stay = setInterval(() => {}, 60_000);
process.on("SIGINT", () => console.log(JSON.stringify({ interrupted: true })));
const { url, startedHere, close } = await openPostgres({ dataDir: process.argv[2]! });
process.on("SIGTERM", async () => {
  await close();
  clearInterval(stay);
});
console.log(JSON.stringify({ url, startedHere }));
