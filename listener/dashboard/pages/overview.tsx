import { TokenTiles } from "../dapp/tiles.tsx";
import { Feed } from "../parts/feed.tsx";

export function Overview() {
  return (
    <>
      <h1 class="sr-only">Overview</h1>
      <dl class="tiles">
        <TokenTiles />
      </dl>
      <Feed limit={60} />
    </>
  );
}
