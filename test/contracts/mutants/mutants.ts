/** A deliberate fault: one piece of a contract replaced by another, and the test that must notice. */
export interface Mutant {
  name: string;
  file: string;
  replace: string;
  by: string;
  caughtBy: { file: string; test: string };
}

const token = "contracts/SluiceToken.sol";
const extension = (name: string) => `contracts/extensions/${name}.sol`;
const [memo, mineable, mintable] = [extension("ERC20Memo"), extension("ERC20Mineable"), extension("ERC20Mintable")];
const [pausable, registrable] = [extension("ERC20RolePausable"), extension("ERC20Registrable")];

/** The test file beside a contract. */
const beside = (file: string, test: string) => ({ file: file.replace(".sol", ".t.sol"), test });
const invariant = (test: string) => ({ file: "contracts/SluiceTokenInvariants.t.sol", test });

export const mutants: Mutant[] = [
  {
    name: "the digest does not bind the beneficiary",
    file: mineable,
    replace: "address(this), _challenge, beneficiary, nonce",
    by: "address(this), _challenge, nonce",
    caughtBy: beside(mineable, "testFuzzTheDigestBindsEverything"),
  },
  {
    name: "the digest does not bind the chain",
    file: mineable,
    replace: "abi.encode(block.chainid, address(this), _challenge",
    by: "abi.encode(address(this), _challenge",
    caughtBy: beside(mineable, "testFuzzTheDigestBindsEverything"),
  },
  {
    name: "a solution leaves the challenge as it is",
    file: mineable,
    replace: "_challenge = keccak256(abi.encode(digest, blockhash(block.number - 1)));",
    by: "",
    caughtBy: beside(mineable, "testASolutionCountsOnce"),
  },
  {
    name: "the next challenge can be known ahead",
    file: mineable,
    replace: "abi.encode(digest, blockhash(block.number - 1))",
    by: "abi.encode(digest)",
    caughtBy: beside(mineable, "testTheNextChallengeDependsOnTheBlockBefore"),
  },
  {
    name: "a digest equal to the target is refused",
    file: mineable,
    replace: "uint256(digest) > _target",
    by: "uint256(digest) >= _target",
    caughtBy: beside(mineable, "testADigestEqualToTheTargetIsEnough"),
  },
  {
    name: "work is not checked",
    file: mineable,
    replace: "if (uint256(digest) > _target) revert InsufficientWork(digest, _target);",
    by: "",
    caughtBy: invariant("invariantNothingHappensThatMustNot"),
  },
  {
    name: "the submitter is paid instead of the beneficiary",
    file: mineable,
    replace: "_mint(beneficiary, paid)",
    by: "_mint(_msgSender(), paid)",
    caughtBy: beside(mineable, "testFuzzACopiedNonceIsWorthNothingToSomebodyElse"),
  },
  {
    name: "the reward halves one epoch early",
    file: mineable,
    replace: "(_epoch / _halvingInterval)",
    by: "((_epoch + 1) / _halvingInterval)",
    caughtBy: beside(mineable, "testTheRewardHalvesOnSchedule"),
  },
  {
    name: "the last reward is not clamped to the cap",
    file: mineable,
    replace: "Math.min(_initialReward >> (_epoch / _halvingInterval), cap() - totalSupply())",
    by: "_initialReward >> (_epoch / _halvingInterval)",
    caughtBy: beside(mineable, "testFuzzTheLastRewardIsWhatTheCapLeaves"),
  },
  {
    name: "a retarget makes mining easier without bound",
    file: mineable,
    replace: "Math.min(Math.max(block.timestamp - _retargetedAt, shortest), longest)",
    by: "Math.max(block.timestamp - _retargetedAt, shortest)",
    caughtBy: beside(mineable, "testARetargetIsFourfoldAfterALongWait"),
  },
  {
    name: "a retarget makes mining harder by five at most, not four",
    file: mineable,
    replace: "Math.ceilDiv(expected, MAX_RETARGET_FACTOR)",
    by: "expected / 5",
    caughtBy: beside(mineable, "testFuzzARetargetIsAtMostFourfold"),
  },
  {
    name: "the clock of a retarget starts at deployment",
    file: mineable,
    replace: "_setTarget(Math.min(Math.max(proposed, _minimumTarget), _maximumTarget));",
    by: "uint128 before = _retargetedAt; _setTarget(Math.min(Math.max(proposed, _minimumTarget), _maximumTarget)); _retargetedAt = before;",
    caughtBy: beside(mineable, "testTheTimeOfARetargetStartsAtTheOneBefore"),
  },
  {
    name: "the target follows with every solution",
    file: mineable,
    replace: "if (solution % _retargetInterval == 0) _retarget();",
    by: "_retarget();",
    caughtBy: beside(mineable, "testFuzzTheTargetFollowsTheSpeed"),
  },
  {
    name: "minting goes on while paused",
    file: token,
    replace: "super._update(from, to, value);",
    by: "if (from == address(0)) ERC20._update(from, to, value); else super._update(from, to, value);",
    caughtBy: beside(pausable, "testMintStopsWhilePaused"),
  },
  {
    name: "transfers go on while paused",
    file: token,
    replace: "super._update(from, to, value);",
    by: "if (from != address(0)) ERC20._update(from, to, value); else super._update(from, to, value);",
    caughtBy: invariant("invariantNothingHappensThatMustNot"),
  },
  {
    name: "approvals and permits go on while paused",
    file: pausable,
    replace: "internal virtual override whenNotPaused {",
    by: "internal virtual override {",
    caughtBy: beside(pausable, "testPermitStopsWhilePaused"),
  },
  {
    name: "registration without a grant goes on while paused",
    file: registrable,
    replace: "string calldata name_) private whenNotPaused {",
    by: "string calldata name_) private {",
    caughtBy: beside(pausable, "testRegisterWithoutAGrantStopsWhilePaused"),
  },
  {
    name: "who pauses may also start again",
    file: pausable,
    replace: "onlyRole(UNPAUSER_ROLE)",
    by: "onlyRole(PAUSER_ROLE)",
    caughtBy: beside(pausable, "testPauserCannotUnpause"),
  },
  {
    name: "the cap is off by one",
    file: token,
    replace: "ERC20Capped(terms.cap)",
    by: "ERC20Capped(terms.cap + 1)",
    caughtBy: beside(mintable, "testFuzzTheCapIsReachedAndNotExceeded"),
  },
  {
    name: "anybody mints who was given a limit",
    file: mintable,
    replace: "function mint(address to, uint256 amount, bytes32 reason) public virtual onlyRole(MINTER_ROLE) {",
    by: "function mint(address to, uint256 amount, bytes32 reason) public virtual {",
    caughtBy: beside(mintable, "testFuzzOnlyMintersMint"),
  },
  {
    name: "anybody sets limits",
    file: mintable,
    replace: "uint256 limit) public virtual onlyRole(DEFAULT_ADMIN_ROLE) {",
    by: "uint256 limit) public virtual {",
    caughtBy: beside(mintable, "testFuzzOnlyTheAdminSetsLimits"),
  },
  {
    name: "a batch counts its first amount alone",
    file: mintable,
    replace: "_useMintLimit(minter, total)",
    by: "_useMintLimit(minter, amounts[0])",
    caughtBy: beside(mintable, "testABatchBeyondTheLimitMintsNothing"),
  },
  {
    name: "a limit is for ever",
    file: mintable,
    replace: "if (quota.period != _currentPeriod()) return 0;",
    by: "",
    caughtBy: beside(mintable, "testTheLimitIsUsedUpToTheLastSecondOfThePeriod"),
  },
  {
    name: "a batch may be larger by one",
    file: mintable,
    replace: "length > MAX_MINT_BATCH",
    by: "length > MAX_MINT_BATCH + 1",
    caughtBy: beside(mintable, "testABatchThatIsTooLargeReverts"),
  },
  {
    name: "an account registers again",
    file: registrable,
    replace: "if (isRegistered(account)) revert AlreadyRegistered(account);",
    by: "",
    caughtBy: beside(registrable, "testRegisteringTwiceReverts"),
  },
  {
    name: "grants do not use up the budget",
    file: registrable,
    replace: "_grantBudget -= granted;",
    by: "",
    caughtBy: beside(registrable, "testTheLastGrantIsWhatIsLeftAndThenNothing"),
  },
  {
    name: "a grant of nothing is paid",
    file: registrable,
    replace: "if (granted > 0) {",
    by: "{",
    caughtBy: beside(registrable, "testTheLastGrantIsWhatIsLeftAndThenNothing"),
  },
  {
    name: "a signature registers whoever sends it",
    file: registrable,
    replace: "        _register(account, name_);",
    by: "        _register(_msgSender(), name_);",
    caughtBy: beside(registrable, "testFuzzRegistersForWhoeverSigned"),
  },
  {
    name: "a signature does not bind the name",
    file: registrable,
    replace: "abi.encode(REGISTRATION_TYPEHASH, account, keccak256(bytes(name_)), ",
    by: "abi.encode(REGISTRATION_TYPEHASH, account, keccak256('alicia'), ",
    caughtBy: beside(registrable, "testASignatureForAnotherNameReverts"),
  },
  {
    name: "a signature uses up no nonce",
    file: registrable,
    replace: "_useNonce(account)",
    by: "nonces(account)",
    caughtBy: beside(registrable, "testFuzzRegistersForWhoeverSigned"),
  },
  {
    name: "a signature never expires",
    file: registrable,
    replace: "if (block.timestamp > deadline) revert RegistrationExpired(deadline);",
    by: "",
    caughtBy: beside(registrable, "testFuzzAnExpiredSignatureReverts"),
  },
  {
    name: "a name has no z",
    file: registrable,
    replace: 'c <= "z"',
    by: 'c < "z"',
    caughtBy: beside(registrable, "testEveryByteIsJudgedAsTheAlphabetSays"),
  },
  {
    name: "a memo transfers nothing",
    file: memo,
    replace: "_transfer(from, to, amount);",
    by: "",
    caughtBy: beside(memo, "testFuzzTransfersAndSaysWhatFor"),
  },
  {
    name: "the sequence skips a number",
    file: extension("Sequenced"),
    replace: "return ++_sequence;",
    by: "return _sequence += 2;",
    caughtBy: invariant("invariantTheSequenceIsContiguous"),
  },
];
