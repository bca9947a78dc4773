// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

/**
 * @title IERC20Mintable
 * @notice Minting by role, limited per minter and period, so that a stolen minter key costs at most one period's limit
 * (two, across the boundary of periods) before somebody pauses or revokes it.
 *
 * A minter has no limit of its own until an administrator sets one: the role alone mints nothing. Periods are counted
 * from the Unix epoch and are the same for all minters.
 */
interface IERC20Mintable {
    /// @notice `minter` minted `amount` to `to`, for `reason`. Emitted beside the ERC-20 `Transfer`, once per recipient.
    event Minted(address indexed minter, address indexed to, uint256 amount, bytes32 reason, uint256 sequence);

    /// @notice `admin` set what `minter` may mint per period to `limit`.
    event MintLimitChanged(address indexed minter, address indexed admin, uint256 limit, uint256 sequence);

    /// @notice `minter` asked for `amount`, and this period leaves it `available`.
    error MintLimitExceeded(address minter, uint256 amount, uint256 available);

    /// @notice A batch of `recipients` recipients came with `amounts` amounts.
    error MintBatchLengthMismatch(uint256 recipients, uint256 amounts);

    /// @notice A batch holds 1 to `maximum` recipients, not `recipients`.
    error MintBatchSizeInvalid(uint256 recipients, uint256 maximum);

    /// @notice A mint period is at least one second.
    error MintPeriodInvalid(uint256 period);

    /// @notice Mints `amount` to `to`. The caller needs the minter role, room in its limit and room under the cap.
    /// @param reason Why, for the record: any 32 bytes, such as a short text or a document's hash.
    function mint(address to, uint256 amount, bytes32 reason) external;

    /**
     * @notice Mints `amounts[i]` to `recipients[i]` for each i, or nothing at all.
     *
     * Gas is linear in the number of recipients, without a surprise from whom they are (no recipient is called), and
     * bounded: more than {MAX_MINT_BATCH} recipients revert before anything is written.
     */
    function mintBatch(address[] calldata recipients, uint256[] calldata amounts, bytes32 reason) external;

    /// @notice Sets what `minter` may mint per period; at most 2^104 - 1. What it minted in this period still counts.
    function setMintLimit(address minter, uint256 limit) external;

    /// @notice What `minter` may mint per period.
    function mintLimit(address minter) external view returns (uint256);

    /// @notice What this period's limit leaves to `minter` now. The cap may leave less.
    function mintableBy(address minter) external view returns (uint256);

    /// @notice The length of a period in seconds.
    function mintPeriod() external view returns (uint256);
}
