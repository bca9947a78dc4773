// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

/**
 * @title IERC20Mineable
 * @notice Tokens for proof of work, in the vocabulary of EIP-918.
 *
 * To mine is to find a nonce whose digest, read as a number, is at most the target. The digest is
 * `keccak256(abi.encode(block.chainid, address(this), challenge, beneficiary, nonce))`: it is worth something for one
 * beneficiary, at one challenge, of one contract, on one chain. Each solution opens the next epoch with a new challenge
 * that is made from its digest and the hash of the block before, so a solution counts once, a nonce copied from a
 * pending transaction pays the one who found it, and nobody can work ahead in secret.
 */
interface IERC20Mineable {
    /// @notice The rules of mining, fixed at deployment.
    /// @param reward Of the first epochs, in the token's smallest unit.
    /// @param halvingInterval After how many epochs the reward halves.
    /// @param retargetInterval After how many epochs the target follows the speed of mining.
    /// @param epochSeconds How long an epoch should take.
    /// @param target At first.
    /// @param minimumTarget The hardest: the target never falls below it.
    /// @param maximumTarget The easiest: the target never rises above it; at most 2^254 - 1.
    struct MiningRules {
        uint256 reward;
        uint64 halvingInterval;
        uint64 retargetInterval;
        uint64 epochSeconds;
        uint256 target;
        uint256 minimumTarget;
        uint256 maximumTarget;
    }

    /// @notice `nonce` solved `challenge` with `digest` and paid `reward` to `beneficiary`, as solution number `epoch`.
    event Mined(
        address indexed beneficiary,
        uint256 indexed epoch,
        uint256 reward,
        bytes32 challenge,
        bytes32 digest,
        uint256 nonce,
        uint256 sequence
    );

    /// @notice From solution number `epoch` on, a digest must be at most `target`. Emitted at deployment (epoch 0) too.
    event Retargeted(uint256 indexed epoch, uint256 target, uint256 sequence);

    /// @notice `digest` is above `target`: the nonce is for other values, for an earlier challenge, or no solution.
    error InsufficientWork(bytes32 digest, uint256 target);

    /// @notice There is nothing left to mine: the cap is reached or the reward has halved to nothing.
    error MiningExhausted(uint256 epoch);

    /// @notice An interval is 0, or the targets are not ordered or not within 1 and 2^254 - 1.
    error MiningRulesInvalid(MiningRules rules);

    /// @notice Pays the present reward to `beneficiary` if `nonce` solves the present challenge. Anyone may submit it.
    function mine(address beneficiary, uint256 nonce) external;

    /// @notice The digest of `nonce` for `beneficiary` at the present challenge.
    function digestOf(address beneficiary, uint256 nonce) external view returns (bytes32);

    /// @notice What the present epoch's digest has to bind.
    function challenge() external view returns (bytes32);

    /// @notice What the present epoch's digest must not exceed.
    function target() external view returns (uint256);

    /// @notice How many solutions there have been.
    function epoch() external view returns (uint256);

    /// @notice What the next solution pays: halved on schedule, and never more than the cap leaves.
    function reward() external view returns (uint256);

    /// @notice The rules of mining.
    function miningRules() external view returns (MiningRules memory);
}
